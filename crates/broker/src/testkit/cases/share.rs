//! Several consumers of one queue.

use std::time::Duration;

use orderwire_types::testkit::{Outcome, holds, same};
use tokio::time::Instant;

use crate::capabilities::Ordering;
use crate::testkit::bench::{Bench, MANY, Reader, labels, numbered, sorted};

pub(super) async fn consumers_of_a_queue_share_its_messages(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["shared"]).await?;
    let other = b.another().await?;
    let mut readers = [b.reader(&queue, 5).await?, b.reader_of(&other, &queue, 5).await?];
    if b.broker().capabilities().ordering == Ordering::Key {
        return keys_are_shared(b, &mut readers).await;
    }
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

/// Where order is kept by giving each key to one consumer, a consumer that holds all that it
/// may leaves nothing to the others.
async fn keys_are_shared(b: &mut Bench, readers: &mut [Reader; 2]) -> Outcome {
    const SHORT: Duration = Duration::from_millis(50);
    let expected = numbered(40);
    let messages = expected.iter().enumerate().map(|(number, label)| {
        let mut message = b.message("shared", label);
        message.key = Some(format!("key-{}", number % 20));
        message
    });
    let messages = messages.collect();
    b.confirmed(messages).await?;
    let until = Instant::now() + b.patience();
    let mut came = Vec::new();
    while came.len() < expected.len() {
        holds(&format!("all come, not {came:?} only"), Instant::now() < until)?;
        for reader in &mut *readers {
            let batch = reader.within(SHORT, MANY).await?;
            if !batch.is_empty() {
                reader.ack(&batch).await?;
                came.extend(labels(&batch));
            }
        }
    }
    came.sort();
    same("each message once", came, expected)?;
    for reader in readers {
        reader.nothing_more().await?;
    }
    Ok(())
}
