//! Many publishers on one channel: each gets the answer to its own message.

use std::time::Duration;

use orderwire_broker::{Broker, Declare, ErrorKind};
use orderwire_broker_rabbitmq::Options;
use tokio::task::JoinSet;

use crate::support::others::{Others, clean};
use crate::support::{connected, drain, insist, label, message, options, publish, queue};

/// The server confirms many at once, and the client library hands out what came back
/// with any of them: an answer must not go to somebody else's message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_unroutable_among_many_are_told_to_whoever_published_them() {
    const PUBLISHERS: usize = 24;
    const EACH: usize = 60;
    let Some(options) = options().await else { return };
    let broker = connected(&options).await;
    let taken = queue(&["taken"], Declare::Classic);
    broker.declare(&taken).await.unwrap();
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let broker = broker.clone();
        publishers.spawn(async move {
            for batch in 0..EACH / 6 {
                let is_taken = |number: usize| !(number + batch + publisher).is_multiple_of(3);
                let messages = (0..6).map(|number| {
                    let event_type = if is_taken(number) { "taken" } else { "for.nobody" };
                    message(event_type, &format!("{publisher}-{batch}-{number}"))
                });
                for (number, answer) in broker.publish(messages.collect()).await.into_iter().enumerate() {
                    let kind = answer.err().map(|error| error.kind());
                    let expected = if is_taken(number) { None } else { Some(ErrorKind::Unroutable) };
                    assert_eq!(kind, expected, "{publisher}-{batch}-{number}");
                }
            }
        });
    }
    while let Some(published) = publishers.join_next().await {
        published.unwrap();
    }
    let came = drain(&*broker, &taken, PUBLISHERS * EACH * 2 / 3).await;
    assert_eq!(came.len(), PUBLISHERS * EACH * 2 / 3, "each once");
    clean(&options, &[&taken]).await;
}

#[tokio::test]
async fn what_is_not_confirmed_is_bounded_and_all_goes_through() {
    let Some(options) = options().await else { return };
    let options = Options { unconfirmed_bytes_max: 64 << 10, ..options };
    let broker = connected(&options).await;
    let queue = queue(&["bounded"], Declare::Classic);
    broker.declare(&queue).await.unwrap();
    let messages = (0..300).map(|number| {
        let mut message = message("bounded", &format!("{number:03}"));
        // The last one is larger than all that may be unconfirmed, and goes alone.
        let size = if number == 299 { 100 << 10 } else { 8 << 10 };
        let body = format!("{number:03}{}", "x".repeat(size));
        message.body = body.into();
        message
    });
    for answer in broker.publish(messages.collect()).await {
        answer.unwrap();
    }
    let came = drain(&*broker, &queue, 300).await;
    assert!(came.iter().map(label).is_sorted(), "in order");
    clean(&options, &[&queue]).await;
}

/// The channel that publishes ends with the exchange; it is made anew, and the exchange
/// with its bindings.
#[tokio::test]
async fn an_exchange_that_was_deleted_comes_back_with_its_bindings() {
    let Some(options) = options().await else { return };
    let broker = connected(&options).await;
    let queue = queue(&["back"], Declare::Classic);
    broker.declare(&queue).await.unwrap();
    let others = Others::connect(&options).await;
    others.delete_exchange(&options.exchange).await;
    let answer = publish(&*broker, message("back", "first")).await;
    let kind = answer.unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::Unconfirmed | ErrorKind::Unavailable), "{kind:?}");
    insist(&*broker, &message("back", "second")).await;
    assert_eq!(label(&drain(&*broker, &queue, 1).await[0]), "second");
    clean(&options, &[&queue]).await;
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_blocks_nobody() {
    let Some(options) = options().await else { return };
    let options = Options { unconfirmed_bytes_max: 16 << 10, ..options };
    let broker = connected(&options).await;
    let queue = queue(&["left"], Declare::Classic);
    broker.declare(&queue).await.unwrap();
    for number in 0..20 {
        let publish = publish(&*broker, message("left", &format!("left-{number:02}")));
        // Given up at once, at whatever it has come to.
        tokio::time::timeout(Duration::ZERO, publish).await.ok();
    }
    publish(&*broker, message("left", "last")).await.unwrap();
    clean(&options, &[&queue]).await;
}
