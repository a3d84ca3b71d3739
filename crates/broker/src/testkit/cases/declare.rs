//! Queues come to be, and what is there stays as it is.

use orderwire_types::queue::Declare;
use orderwire_types::testkit::{Outcome, holds, same};

use crate::contract::QueueBinding;
use crate::error::ErrorKind;
use crate::testkit::bench::{Bench, labels, refused};

pub(super) async fn declaring_again_changes_nothing(b: &mut Bench) -> Outcome {
    for kind in [Declare::Adopt, Declare::Classic, Declare::Quorum] {
        let queue = b.plan(&["twice"], kind);
        b.declare(&queue).await?;
        b.say("twice", &["before"]).await?;
        b.declare(&queue).await?;
        b.another().await?.declare(&queue).await.map_err(|error| error.to_string())?;
        b.say("twice", &["after"]).await?;
        let mut reader = b.reader(&queue, 10).await?;
        same("what came", labels(&reader.take(2).await?), ["before", "after"].map(str::to_owned).into())?;
        reader.nothing_more().await?;
    }
    Ok(())
}

pub(super) async fn a_declaration_adds_bindings(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["old"]).await?;
    b.say("old", &["old before"]).await?;
    let wider = QueueBinding { types: vec![b.pattern("old"), b.pattern("new.*")], ..queue };
    b.declare(&wider).await?;
    b.say("new.one", &["new"]).await?;
    b.say("old", &["old after"]).await?;
    let mut reader = b.reader(&wider, 10).await?;
    let expected = ["old before", "new", "old after"].map(str::to_owned).into();
    same("what came", labels(&reader.take(3).await?), expected)
}

pub(super) async fn unbinding_takes_away_types_and_nothing_else(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["gone", "stays"]).await?;
    // So that what the first does not take any more is taken by somebody.
    let other = b.queue(&["gone"]).await?;
    b.say("gone", &["before"]).await?;
    let gone = [b.pattern("gone")];
    // By a process that did not declare it, as after a restart.
    b.another().await?.unbind(&queue.name, &gone).await.map_err(|error| error.to_string())?;
    b.say("gone", &["for the other"]).await?;
    b.say("stays", &["after"]).await?;
    let mut reader = b.reader(&queue, 10).await?;
    if b.broker().capabilities().routes_by_pattern {
        same("what came", labels(&reader.take(2).await?), ["before", "after"].map(str::to_owned).into())?;
        reader.nothing_more().await?;
    } else {
        // It may get more than it takes, for as long as it takes anything.
        let mut came = labels(&reader.take(2).await?);
        if came.last().is_some_and(|label| label == "for the other") {
            came.pop();
            came.extend(labels(&reader.take(1).await?));
        }
        same("what came", came, ["before", "after"].map(str::to_owned).into())?;
    }
    let mut reader = b.reader(&other, 10).await?;
    let came = labels(&reader.take(2).await?);
    same("what the other got", came, ["before", "for the other"].map(str::to_owned).into())
}

pub(super) async fn unbinding_what_is_not_there_is_no_error(b: &mut Bench) -> Outcome {
    let (queue, absent) = (b.queue(&["some"]).await?, b.plan(&["absent"], Declare::Classic));
    let never = [b.pattern("never")];
    for (name, types) in [(&queue.name, &never[..]), (&absent.name, &absent.types)] {
        b.broker().unbind(name, types).await.map_err(|error| error.to_string())?;
    }
    // Nothing was harmed by it, and nothing was made.
    b.say("some", &["after"]).await?;
    same("what came", labels(&b.reader(&queue, 10).await?.take(1).await?), vec!["after".to_owned()])?;
    let opened = b.broker().consume(&absent, 10).await;
    refused("a consumer of what is not there", opened, ErrorKind::Conflict).map(drop)
}

pub(super) async fn adopt_uses_what_is_there(b: &mut Bench) -> Outcome {
    for kind in [Declare::Classic, Declare::Quorum] {
        let queue = b.plan(&[], kind);
        b.declare(&queue).await?;
        adopted(b, &queue).await?;
    }
    let foreign = b.plan(&[], Declare::Adopt);
    if b.occupy(&foreign).await? {
        adopted(b, &foreign).await?;
    }
    Ok(())
}

/// Adopts a queue that is there and bound to nothing, and sees that it works.
async fn adopted(b: &mut Bench, queue: &QueueBinding) -> Outcome {
    let message = b.message_to_queue(queue, "was there");
    b.confirmed(vec![message]).await?;
    let types = vec![b.pattern("adopted")];
    let queue = QueueBinding { declare: Declare::Adopt, types, ..queue.clone() };
    b.declare(&queue).await?;
    b.say("adopted", &["is new"]).await?;
    let mut reader = b.reader(&queue, 10).await?;
    let came = reader.take(2).await?;
    reader.ack(&came).await?;
    same("what came", labels(&came), ["was there", "is new"].map(str::to_owned).into())
}

pub(super) async fn adopt_makes_a_plain_queue(b: &mut Bench) -> Outcome {
    let queue = b.plan(&["plain"], Declare::Adopt);
    b.declare(&queue).await?;
    b.say("plain", &["taken"]).await?;
    // A plain one, so that who asks for a plain one finds it.
    b.declare(&QueueBinding { declare: Declare::Classic, ..queue.clone() }).await?;
    same("what came", labels(&b.reader(&queue, 10).await?.take(1).await?), vec!["taken".to_owned()])
}

pub(super) async fn other_arguments_conflict(b: &mut Bench) -> Outcome {
    let queue = b.plan(&["foreign"], Declare::Quorum);
    if !b.occupy(&queue).await? {
        return Ok(());
    }
    for kind in [Declare::Classic, Declare::Quorum] {
        let asked = QueueBinding { declare: kind, ..queue.clone() };
        let answer = b.try_declare(&asked).await?;
        let error = refused("a declaration with other arguments", answer, ErrorKind::Conflict)?;
        let named = error.to_string().contains(queue.name.as_str());
        holds(&format!("{error:?} names the queue"), named)?;
    }
    // Nothing else is harmed by it.
    let other = b.queue(&["mine"]).await?;
    b.say("mine", &["after"]).await?;
    same("what came", labels(&b.reader(&other, 10).await?.take(1).await?), vec!["after".to_owned()])
}

pub(super) async fn names_of_queues_may_have_dots(b: &mut Bench) -> Outcome {
    let name = format!("orderwire.test_{}", b.fresh()).parse().expect("a queue name");
    let queue = b.plan_named(name, &["dotted"], Declare::Quorum);
    b.declare(&queue).await?;
    let by_name = b.message_to_queue(&queue, "by name");
    b.confirmed(vec![by_name]).await?;
    b.say("dotted", &["by type"]).await?;
    let mut reader = b.reader(&queue, 10).await?;
    same("what came", labels(&reader.take(2).await?), ["by name", "by type"].map(str::to_owned).into())
}
