//! Several consumers of one queue.

use orderwire_types::testkit::{Outcome, holds, same};

use crate::testkit::bench::{Bench, labels, numbered, sorted};

pub(super) async fn consumers_of_a_queue_share_its_messages(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["shared"]).await?;
    let other = b.another().await?;
    let mut readers = [b.reader(&queue, 5).await?, b.reader_of(&other, &queue, 5).await?];
    let expected = numbered(20);
    b.say("shared", &expected.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let mut came = Vec::new();
    for _ in 0..2 {
        // While one holds all that it may, the rest is the other's.
        let held = [readers[0].take(5).await?, readers[1].take(5).await?];
        for (reader, held) in readers.iter_mut().zip(&held) {
            reader.ack(held).await?;
            came.extend(labels(held));
        }
    }
    came.sort();
    same("each message once", came, expected)
}

pub(super) async fn what_a_consumer_held_goes_to_the_others(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["heir"]).await?;
    let other = b.another().await?;
    let mut reader = b.reader(&queue, 10).await?;
    b.say("heir", &["m000", "m001", "m002"]).await?;
    reader.take(3).await?;
    let mut heir = b.reader_of(&other, &queue, 10).await?;
    drop(reader);
    let inherited = heir.take(3).await?;
    same("what the other gets", sorted(&inherited), numbered(3))?;
    holds("all are marked as redelivered", inherited.iter().all(|message| message.redelivered))
}
