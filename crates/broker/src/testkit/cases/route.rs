//! A message reaches the queues that take it, and no others.

use orderwire_types::testkit::{Outcome, holds, same};

use crate::error::ErrorKind;
use crate::testkit::bench::{Bench, labels, refused, sorted};

pub(super) async fn a_message_reaches_every_queue_that_takes_its_type(b: &mut Bench) -> Outcome {
    let queues = [&["a.b"][..], &["a.*"], &["a.#"], &["a.b", "x"], &["other"]];
    let mut readers = Vec::new();
    for types in queues {
        let queue = b.queue(types).await?;
        readers.push(b.reader(&queue, 10).await?);
    }
    b.say("a.b", &["for four"]).await?;
    b.say("x", &["for one"]).await?;
    b.say("other", &["for the last"]).await?;
    let expected: [&[&str]; 5] =
        [&["for four"], &["for four"], &["for four"], &["for four", "for one"], &["for the last"]];
    for (reader, expected) in readers.iter_mut().zip(expected) {
        let expected: Vec<String> = expected.iter().map(|label| (*label).to_owned()).collect();
        same("what came", labels(&reader.take(expected.len()).await?), expected)?;
    }
    for reader in &mut readers {
        reader.nothing_more().await?;
    }
    Ok(())
}

pub(super) async fn a_star_is_one_word(b: &mut Bench) -> Outcome {
    let types = ["a", "a.b", "a.b.c", "a.b.c.d", "x.b"];
    taken(b, "a.*", &types, &["a.b"]).await?;
    taken(b, "*.b", &types, &["a.b", "x.b"]).await?;
    taken(b, "a.*.c", &types, &["a.b.c"]).await
}

pub(super) async fn a_hash_is_any_number_of_words(b: &mut Bench) -> Outcome {
    let types = ["a", "a.b", "a.b.c", "a.x.y.c", "x.b", "a.c"];
    taken(b, "a.#", &types, &["a", "a.b", "a.b.c", "a.c", "a.x.y.c"]).await?;
    taken(b, "a.#.c", &types, &["a.b.c", "a.c", "a.x.y.c"]).await?;
    taken(b, "#.c", &types, &["a.b.c", "a.c", "a.x.y.c"]).await
}

pub(super) async fn a_hash_alone_takes_everything(b: &mut Bench) -> Outcome {
    taken(b, "#", &["a", "a.b", "x.y.z"], &["a", "a.b", "x.y.z"]).await
}

/// Publishes one message of each type, and sees that a queue bound to the pattern gets
/// those of `expected` (in the order of the alphabet) and no other.
async fn taken(b: &mut Bench, pattern: &str, types: &[&str], expected: &[&str]) -> Outcome {
    let queue = b.queue(&[pattern]).await?;
    // So that every type is taken by somebody.
    b.queue(&["#"]).await?;
    for event_type in types {
        b.say(event_type, &[event_type]).await?;
    }
    let mut reader = b.reader(&queue, 100).await?;
    let came = sorted(&reader.take(expected.len()).await?);
    let expected: Vec<String> = expected.iter().map(|label| (*label).to_owned()).collect();
    same(&format!("what {pattern} takes"), came, expected)?;
    reader.nothing_more().await
}

pub(super) async fn a_message_that_two_patterns_take_comes_once(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["a.*", "a.#", "*.b"]).await?;
    b.say("a.b", &["once"]).await?;
    let mut reader = b.reader(&queue, 10).await?;
    same("what came", labels(&reader.take(1).await?), vec!["once".to_owned()])?;
    reader.nothing_more().await
}

pub(super) async fn a_message_to_a_queue_reaches_it_alone(b: &mut Bench) -> Outcome {
    let (one, other) = (b.queue(&["#"]).await?, b.queue(&["#"]).await?);
    let unbound = b.queue(&[]).await?;
    let messages = vec![b.message_to_queue(&one, "to one"), b.message_to_queue(&unbound, "to the unbound")];
    b.confirmed(messages).await?;
    for (queue, expected) in [(&one, "to one"), (&unbound, "to the unbound")] {
        let mut reader = b.reader(queue, 10).await?;
        let got = reader.one().await?;
        same("what came", labels(std::slice::from_ref(&got)), vec![expected.to_owned()])?;
        same("its type", got.event_type, None)?;
        reader.nothing_more().await?;
    }
    b.reader(&other, 10).await?.nothing_more().await
}

pub(super) async fn an_unroutable_message_is_reported_alone(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["taken"]).await?;
    let missing = b.plan(&[], crate::Declare::Quorum);
    let messages = vec![
        b.message("taken", "first"),
        b.message("by.nobody", "for no type"),
        b.message("taken", "second"),
        b.message_to_queue(&missing, "for no queue"),
        b.message("taken", "third"),
    ];
    let answers = b.publish(messages).await?;
    let reports = b.broker().capabilities().reports_unroutable;
    for (index, answer) in answers.into_iter().enumerate() {
        if index % 2 == 0 {
            holds(&format!("message {index} is confirmed, not {answer:?}"), answer.is_ok())?;
        } else if reports {
            refused(&format!("message {index}, which nobody takes"), answer, ErrorKind::Unroutable)?;
        }
    }
    let mut reader = b.reader(&queue, 10).await?;
    let expected = ["first", "second", "third"].map(str::to_owned).into();
    same("what came", labels(&reader.take(3).await?), expected)
}
