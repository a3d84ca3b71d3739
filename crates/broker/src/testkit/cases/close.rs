//! The end of a broker in good order.

use orderwire_types::testkit::{Outcome, holds, same};

use crate::error::ErrorKind;
use crate::testkit::bench::{Bench, numbered, refused, sorted, within};

pub(super) async fn closing_ends_consumers_and_gives_back(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["closing"]).await?;
    b.say("closing", &["m000", "m001", "m002"]).await?;
    let mut reader = b.reader(&queue, 10).await?;
    reader.take(3).await?;
    let broker = b.broker().clone();
    let both = async { tokio::join!(reader.inner.next(1), broker.close()).0 };
    let waited = within(b.patience(), "a wait while the broker closes", both).await?;
    holds("a wait fails when the broker closes", waited.is_err())?;
    let waited = within(b.patience(), "a wait after the broker closed", reader.inner.next(1)).await?;
    holds("a wait fails after the broker closed", waited.is_err())?;
    // The consumer is there still, and holds nothing.
    let other = b.another().await?;
    let again = b.reader_of(&other, &queue, 10).await?.take(3).await?;
    same("what came again", sorted(&again), numbered(3))?;
    holds("all are marked as redelivered", again.iter().all(|message| message.redelivered))
}

pub(super) async fn a_closed_broker_takes_nothing(b: &mut Bench) -> Outcome {
    let queue = b.queue(&["closed"]).await?;
    within(b.patience(), "close", b.broker().close()).await?;
    within(b.patience(), "close again", b.broker().close()).await?;
    let message = b.message("closed", "late");
    for answer in b.publish(vec![message.clone(), message]).await? {
        refused("a publish", answer, ErrorKind::Unavailable)?;
    }
    refused("a declaration", b.try_declare(&queue).await?, ErrorKind::Unavailable)?;
    let opened = within(b.patience(), "consume", b.broker().consume(&queue, 10)).await?;
    refused("a consumer", opened, ErrorKind::Unavailable)?;
    b.reopen().await?;
    b.reader(&queue, 10).await?.nothing_more().await
}

pub(super) async fn a_check_says_whether_it_is_connected(b: &mut Bench) -> Outcome {
    let check = within(b.patience(), "check", b.broker().check()).await?;
    holds(&format!("an open broker is connected, not {check:?}"), check.is_ok())?;
    within(b.patience(), "close", b.broker().close()).await?;
    let check = within(b.patience(), "check", b.broker().check()).await?;
    refused("the check of a closed broker", check, ErrorKind::Unavailable)?;
    Ok(())
}
