//! Short ways to say what is done to a queue.

use std::time::Duration;

use jiff::Timestamp;
use orderwire_postgres::{Database, PostgresQueue, QueueOptions};
use orderwire_queue::engine::{Append, Claim, Engine, LaneKey, NewEntry, Op, Origin, Outcome, Settle};
use orderwire_queue::model::{Delivery, DeliveryId, Settlement};
use orderwire_types::queue::{Kind, QueueDef};
use orderwire_types::scope::Clients;
use orderwire_types::{EventId, QueueName};
use uuid::Uuid;

use crate::support::TestDatabase;

/// Opens the queue of a database.
pub(crate) async fn open(url: &str) -> PostgresQueue {
    let database = Database::open(&orderwire_postgres::Options::for_testing(url)).await.unwrap();
    PostgresQueue::open(&database, &QueueOptions::default()).await.unwrap()
}

/// An empty queue with the task queues `t1`, `t2` and the stream `s1`.
pub(crate) async fn empty() -> (TestDatabase, PostgresQueue) {
    let database = TestDatabase::new().await;
    let queue = open(&database.url()).await;
    queue.declare(&queues(), Origin::Configuration).await.unwrap();
    (database, queue)
}

pub(crate) fn queues() -> Vec<(QueueName, QueueDef)> {
    let def = |kind| QueueDef { attempts: 3, ..QueueDef::new(kind, vec!["#".parse().unwrap()]) };
    vec![(name("t1"), def(Kind::Task)), (name("t2"), def(Kind::Task)), (name("s1"), def(Kind::Stream))]
}

pub(crate) fn name(name: &str) -> QueueName {
    name.parse().unwrap()
}

/// So many seconds after the beginning of the test's time.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// The event of this number, whose body is the number.
pub(crate) fn entry(n: u64, client: &str, queues: &[(&str, LaneKey)]) -> NewEntry {
    let id = Uuid::from_u128(0x7000_0000 + u128::from(n));
    NewEntry {
        event_id: EventId(id),
        remembered: None,
        event_type: "test.event".parse().unwrap(),
        client: client.parse().unwrap(),
        trace: Uuid::from_u128(0x9000_0000 + u128::from(n)),
        accepted_at: at(0),
        principal: "tester".to_owned(),
        queues: queues.iter().map(|(queue, key)| (name(queue), key.clone())).collect(),
        body: n.to_string().into_bytes().into(),
    }
}

pub(crate) fn key(key: &str) -> LaneKey {
    LaneKey::Key(key.to_owned())
}

pub(crate) fn append(entries: Vec<NewEntry>) -> Op {
    Op::Append(Append { entries, request: None })
}

pub(crate) fn claim(queue: &str, max: usize, until: Timestamp) -> Claim {
    Claim {
        queue: name(queue),
        clients: Clients::All,
        max,
        max_bytes: usize::MAX,
        until,
        behind: Vec::new(),
        principal: "consumer".to_owned(),
    }
}

pub(crate) fn settle(queue: &str, delivery: DeliveryId, settlement: Settlement) -> Op {
    Op::Settle(Settle { queue: name(queue), delivery, clients: Clients::All, settlement })
}

/// The number of an event, from its body.
pub(crate) fn number(body: &[u8]) -> u64 {
    std::str::from_utf8(body).unwrap().parse().unwrap()
}

/// Commits one operation that is not refused.
pub(crate) async fn one(queue: &dyn Engine, op: Op, now: Timestamp) -> Outcome {
    queue.commit(vec![op], now).await.unwrap().outcomes.remove(0).unwrap()
}

/// What a claim handed out.
pub(crate) async fn claimed(queue: &dyn Engine, claim: Claim, now: Timestamp) -> Vec<Delivery> {
    match one(queue, Op::Claim(claim), now).await {
        Outcome::Claimed(deliveries) => deliveries,
        other => panic!("a claim was answered by {other:?}"),
    }
}

/// Waits for a condition, for a limited time.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            // tidy: sleep because the condition is another process's, and only a look tells.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), looking)
        .await
        .unwrap_or_else(|_| panic!("{what}: not in time"))
}
