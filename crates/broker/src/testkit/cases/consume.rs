//! A message comes until it is acked, and then no more.

use std::time::Duration;

use orderwire_types::testkit::{Failed, Outcome, holds, same};
use tokio::time::Instant;

use crate::error::ErrorKind;
use crate::testkit::bench::{Bench, labels, numbered, refused, sorted, within};

pub(super) async fn an_unacked_message_comes_again(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["again"]).await?;
    b.say("again", &["m000", "m001", "m002"]).await?;
    let mut reader = b.reader(&queue, 10).await?;
    let first = reader.take(3).await?;
    holds("the first delivery is not marked", first.iter().all(|message| !message.redelivered))?;
    drop(reader);
    let again = b.reader(&queue, 10).await?.take(3).await?;
    same("what came again", sorted(&again), numbered(3))?;
    holds("all are marked as redelivered", again.iter().all(|message| message.redelivered))
}

pub(super) async fn an_acked_message_does_not_come_again(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["done"]).await?;
    b.say("done", &["m000", "m001", "m002"]).await?;
    let mut reader = b.reader(&queue, 10).await?;
    let acked = reader.take(3).await?;
    reader.ack(&acked).await?;
    drop(reader);
    b.reopen().await?;
    b.say("done", &["new"]).await?;
    let mut reader = b.reader(&queue, 10).await?;
    same("what came", labels(&reader.take(1).await?), vec!["new".to_owned()])?;
    reader.nothing_more().await
}

pub(super) async fn an_ack_of_some_leaves_the_others(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["some"]).await?;
    b.say("some", &["m000", "m001", "m002", "m003", "m004"]).await?;
    let mut reader = b.reader(&queue, 10).await?;
    let mut messages = reader.take(5).await?;
    // Not the first, and not in order.
    let acked = [messages.remove(3), messages.remove(1)];
    reader.ack(&acked).await?;
    drop(reader);
    let mut reader = b.reader(&queue, 10).await?;
    let expected = ["m000", "m002", "m004"].map(str::to_owned).into();
    same("what came again", sorted(&reader.take(3).await?), expected)?;
    reader.nothing_more().await
}

pub(super) async fn a_given_back_message_comes_again(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["back"]).await?;
    b.say("back", &["m000", "m001", "m002"]).await?;
    let mut reader = b.reader(&queue, 10).await?;
    let first = reader.take(3).await?;
    reader.give_back(&first).await?;
    let again = reader.take(3).await?;
    same("what came again", sorted(&again), numbered(3))?;
    holds("all are marked as redelivered", again.iter().all(|message| message.redelivered))?;
    reader.ack(&again).await?;
    reader.nothing_more().await
}

pub(super) async fn giving_back_some_leaves_the_others(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["part"]).await?;
    b.say("part", &["m000", "m001", "m002"]).await?;
    let mut reader = b.reader(&queue, 10).await?;
    let mut held = reader.take(3).await?;
    let given_back = [held.remove(1)];
    reader.give_back(&given_back).await?;
    let again = reader.take(1).await?;
    same("what came again", labels(&again), vec!["m001".to_owned()])?;
    reader.nothing_more().await?;
    // The others are held still, and can be acked.
    reader.ack(&held).await?;
    reader.ack(&again).await?;
    drop(reader);
    b.reader(&queue, 10).await?.nothing_more().await
}

pub(super) async fn the_prefetch_bounds_what_is_unacked(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["held"]).await?;
    let expected = numbered(8);
    b.say("held", &expected.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let mut reader = b.reader(&queue, 3).await?;
    let mut held = reader.take(3).await?;
    reader.nothing_more().await?;
    let acked: Vec<_> = held.drain(..2).collect();
    reader.ack(&acked).await?;
    held.extend(reader.take(2).await?);
    same("what is held", labels(&held), expected[2..5].to_vec())?;
    reader.nothing_more().await?;
    reader.ack(&held).await?;
    same("the rest", labels(&reader.take(3).await?), expected[5..].to_vec())
}

pub(super) async fn a_batch_takes_what_is_there_up_to_its_maximum(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["batch"]).await?;
    let expected = numbered(10);
    b.say("batch", &expected.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let mut reader = b.reader(&queue, 100).await?;
    let mut came = labels(&reader.take(1).await?);
    // The bench fails a batch that is over its maximum.
    let mut batches = 0;
    while came.len() < expected.len() {
        let batch = reader.within(b.patience(), 4).await?;
        holds(&format!("all come, not {came:?} only"), !batch.is_empty())?;
        batches += 1;
        came.extend(labels(&batch));
    }
    same("the order", came, expected)?;
    holds(&format!("nine messages come in fewer batches than {batches}"), batches < 9)
}

pub(super) async fn tags_grow(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["tags"]).await?;
    b.say("tags", &["m000", "m001", "m002"]).await?;
    let mut reader = b.reader(&queue, 10).await?;
    let mut messages = reader.take(3).await?;
    reader.give_back(&messages).await?;
    messages.extend(reader.take(3).await?);
    let tags: Vec<_> = messages.iter().map(|message| message.tag).collect();
    holds(&format!("tags grow: {tags:?}"), tags.is_sorted_by(|one, next| one < next))
}

pub(super) async fn a_dropped_wait_loses_nothing(b: &mut Bench) -> Outcome {
    const SHORT: Duration = Duration::from_millis(1);
    let queue = b.queue(&["wait"]).await?;
    let mut reader = b.reader(&queue, 100).await?;
    for _ in 0..5 {
        holds("nothing is there yet", reader.within(SHORT, 10).await?.is_empty())?;
    }
    let expected = numbered(50);
    let messages: Vec<_> = expected.iter().map(|label| b.message("wait", label)).collect();
    let broker = b.broker().clone();
    // One after the other, so that some come just when a wait is dropped.
    let publisher = tokio::spawn(async move {
        for message in messages {
            broker.publish(vec![message]).await.remove(0)?;
        }
        Ok::<_, crate::Error>(())
    });
    let until = Instant::now() + b.patience();
    let mut came = Vec::new();
    while came.len() < expected.len() {
        holds(&format!("all come, not {came:?} only"), Instant::now() < until)?;
        let batch = reader.within(SHORT, 10).await?;
        if !batch.is_empty() {
            reader.ack(&batch).await?;
            came.extend(labels(&batch));
        }
    }
    publisher.await.map_err(|panic| Failed(panic.to_string()))?.map_err(|error| Failed(error.to_string()))?;
    same("the order", came, expected)
}

pub(super) async fn a_consumer_of_no_queue_conflicts(b: &mut Bench) -> Outcome {
    let missing = b.plan(&["any"], crate::Declare::Quorum);
    let opened = within(b.patience(), "consume", b.broker().consume(&missing, 10)).await?;
    let error = refused("a consumer of a queue that is not there", opened, ErrorKind::Conflict)?;
    holds(&format!("{error:?} names the queue"), error.to_string().contains(missing.name.as_str()))?;
    // Nothing else is harmed by it.
    let queue = b.queue(&["any"]).await?;
    b.say("any", &["after"]).await?;
    same("what came", labels(&b.reader(&queue, 10).await?.take(1).await?), vec!["after".to_owned()])
}
