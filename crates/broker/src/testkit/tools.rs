//! Short ways for a broker's own tests, beside the suite: names that nothing else has,
//! messages that say which they are, and waits that end. What goes wrong panics.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use orderwire_types::queue::Declare;
use tokio::time::timeout;

use crate::contract::{Broker, Consumer, QueueBinding};
use crate::error::Error;
use crate::message::{Message, Received, To};

/// More than anything takes: it ends only tests that fail.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How soon what was asked is asked again.
const AGAIN: Duration = Duration::from_millis(20);

/// A word that nothing else has, of this process or another.
pub(super) fn word() -> String {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    format!("t{now:x}-{:x}-{serial:x}", std::process::id())
}

/// A name that nothing else has.
pub fn unique(what: &str) -> String {
    format!("orderwire-test-{what}-{}", word())
}

/// A queue of a new name.
pub fn queue(types: &[&str], declare: Declare) -> QueueBinding {
    let types = types.iter().map(|text| text.parse().expect("a pattern")).collect();
    QueueBinding { name: unique("queue").parse().expect("a queue name"), types, declare }
}

/// A message that says `label` in its id and its body. All are of one key, so that they
/// are in order on every broker.
pub fn message(event_type: &str, label: &str) -> Message {
    message_to(To::Type(event_type.parse().expect("an event type")), label)
}

/// The same to wherever it is to go.
pub fn message_to(to: To, label: &str) -> Message {
    Message {
        to,
        id: label.to_owned(),
        key: Some("key".to_owned()),
        content_type: "text/plain",
        headers: Vec::new(),
        body: Bytes::copy_from_slice(label.as_bytes()),
    }
}

/// What a message says.
///
/// # Panics
/// When that is no text.
pub fn label(message: &Received) -> String {
    String::from_utf8(message.body.to_vec()).expect("a body is a label")
}

/// Publishes one message.
///
/// # Errors
/// What the broker answers.
pub async fn publish(broker: &dyn Broker, message: Message) -> Result<(), Error> {
    timeout(PATIENCE, broker.publish(vec![message])).await.expect("a publish ends in time").remove(0)
}

/// Publishes one message until it is confirmed.
///
/// # Panics
/// When it never is.
pub async fn insist(broker: &dyn Broker, message: &Message) {
    let mut again = tokio::time::interval(AGAIN);
    let insisting = async {
        while publish(broker, message.clone()).await.is_err() {
            again.tick().await;
        }
    };
    timeout(PATIENCE, insisting).await.unwrap_or_else(|_| panic!("never confirmed: {}", message.id));
}

/// Asks again and again until it is so.
///
/// # Panics
/// When it never is.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let mut again = tokio::time::interval(AGAIN);
    let asking = async {
        while !is_so().await {
            again.tick().await;
        }
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

/// What comes next, at least one message.
///
/// # Panics
/// When nothing comes, or the consumer fails.
pub async fn next(consumer: &mut Box<dyn Consumer>, max: usize) -> Vec<Received> {
    timeout(PATIENCE, consumer.next(max)).await.expect("something comes").expect("it is a batch")
}

/// Everything that is in a queue, acked; until `count` different labels have come.
///
/// # Panics
/// When they do not come, or the broker fails.
pub async fn drain(broker: &dyn Broker, queue: &QueueBinding, count: usize) -> Vec<Received> {
    let mut consumer = broker.consume(queue, 500).await.expect("the queue is consumed");
    let mut came: Vec<Received> = Vec::new();
    let mut labels = BTreeSet::new();
    while labels.len() < count {
        let Ok(batch) = timeout(PATIENCE, consumer.next(200)).await else {
            panic!("only {} of {count} came", labels.len());
        };
        let batch = batch.expect("the consumer goes on");
        let tags: Vec<_> = batch.iter().map(|message| message.tag).collect();
        consumer.ack(&tags).await.expect("what came is acked");
        labels.extend(batch.iter().map(label));
        came.extend(batch);
    }
    came
}

/// Why a broker cannot be reached, which every call says alike; it is closed then.
///
/// # Panics
/// When a call succeeds, or says something else.
pub async fn failure(broker: &dyn Broker) -> Error {
    let error = broker.check().await.expect_err("there is no broker");
    let answer = publish(broker, message("any", "any")).await.expect_err("there is no broker");
    assert_eq!(answer.kind(), error.kind(), "{answer}");
    let answer = broker.declare(&queue(&[], Declare::Classic)).await.expect_err("there is no broker");
    assert_eq!(answer.kind(), error.kind(), "{answer}");
    broker.close().await;
    error
}
