//! A queue in a folder of its own, and short ways to say what is done to it.

use std::path::PathBuf;

use jiff::Timestamp;
use orderwire_queue::Error;
use orderwire_queue::engine::{
    Append, Claim, Committed, Engine, LaneKey, NewEntry, Op, Origin, Outcome, Settle, Settled,
};
use orderwire_queue::model::{Delivery, DeliveryId, Settlement};
use orderwire_sqlite::{DataDir, Options, SqliteQueue};
use orderwire_types::queue::{Backoff, Format, Key, Kind, QueueDef};
use orderwire_types::scope::Clients;
use orderwire_types::{EventId, QueueName};
use uuid::Uuid;

pub(crate) struct Bench {
    pub(crate) queue: SqliteQueue,
    pub(crate) dir: DataDir,
    pub(crate) root: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(&Options::for_testing()).await
    }

    pub(crate) async fn with(options: &Options) -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path()).unwrap();
        let queue = SqliteQueue::open(&dir, options).unwrap();
        queue.declare(&definitions(), Origin::Call).await.unwrap();
        Self { queue, dir, root }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.root.path().join("queue.db")
    }

    pub(crate) fn reopen(self) -> Self {
        self.reopen_with(&Options::for_testing())
    }

    pub(crate) fn reopen_with(self, options: &Options) -> Self {
        drop(self.queue);
        let queue = SqliteQueue::open(&self.dir, options).unwrap();
        Self { queue, ..self }
    }

    /// What the file says to a query of one number.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        rusqlite::Connection::open(self.file()).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Commits these under a fault that comes after ids and traces were written to their
    /// indexes: all of it is undone, and the engine reads its file again.
    pub(crate) async fn fail(&self, ops: Vec<Op>, now: Timestamp) {
        let file = rusqlite::Connection::open(self.file()).unwrap();
        let fault = "CREATE TRIGGER fault BEFORE UPDATE ON queue BEGIN SELECT RAISE(ABORT, 'a fault'); END";
        file.execute_batch(fault).unwrap();
        let error = self.queue.commit(ops, now).await.unwrap_err();
        assert_eq!(error.kind(), orderwire_queue::ErrorKind::Unavailable, "{error}");
        file.execute_batch("DROP TRIGGER fault").unwrap();
    }

    pub(crate) async fn commit(&self, ops: Vec<Op>, now: Timestamp) -> Committed {
        self.queue.commit(ops, now).await.unwrap()
    }

    pub(crate) async fn one(&self, op: Op, now: Timestamp) -> Result<Outcome, Error> {
        let mut committed = self.commit(vec![op], now).await;
        assert_eq!(committed.outcomes.len(), 1);
        committed.outcomes.remove(0)
    }

    pub(crate) async fn append(&self, entries: Vec<NewEntry>, now: Timestamp) -> Vec<bool> {
        match self.one(Op::Append(Append { entries, request: None }), now).await.unwrap() {
            Outcome::Appended(new) => new,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn claim(&self, queue: &str, max: usize, now: Timestamp, lease_s: i64) -> Vec<Delivery> {
        match self.one(Op::Claim(claim(queue, Clients::All, max, at_plus(now, lease_s))), now).await.unwrap()
        {
            Outcome::Claimed(deliveries) => deliveries,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn settle(
        &self,
        queue: &str,
        delivery: DeliveryId,
        settlement: Settlement,
        now: Timestamp,
    ) -> Result<Settled, Error> {
        let settle = Settle { queue: name(queue), delivery, clients: Clients::All, settlement };
        match self.one(Op::Settle(settle), now).await? {
            Outcome::Settled(settled) => Ok(settled),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn ack(&self, queue: &str, delivery: DeliveryId, now: Timestamp) {
        assert_eq!(self.settle(queue, delivery, Settlement::Ack, now).await.unwrap(), Settled::Acked);
    }

    pub(crate) async fn count(&self, op: Op, now: Timestamp) -> u64 {
        match self.one(op, now).await.unwrap() {
            Outcome::Count(count) => count,
            other => panic!("{other:?}"),
        }
    }

    /// The (ready, in flight, delayed, dead) of a queue.
    pub(crate) async fn counts(&self, queue: &str) -> (u64, u64, u64, u64) {
        let state = self.queue.state(&name(queue)).await.unwrap();
        (state.ready, state.in_flight, state.delayed, state.dead)
    }
}

/// Two task queues and two streams.
pub(crate) fn definitions() -> Vec<(QueueName, QueueDef)> {
    let def = |kind| QueueDef {
        kind,
        types: vec!["#".parse().unwrap()],
        key: Key::default(),
        format: Format::default(),
        attempts: 3,
        backoff: Backoff::default(),
    };
    vec![
        (name("t1"), def(Kind::Task)),
        (name("t2"), def(Kind::Task)),
        (name("s1"), def(Kind::Stream)),
        (name("s2"), def(Kind::Stream)),
    ]
}

pub(crate) fn name(queue: &str) -> QueueName {
    queue.parse().unwrap()
}

/// Seconds after a beginning.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

pub(crate) fn at_plus(now: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(now.as_second() + seconds).unwrap()
}

pub(crate) fn claim(queue: &str, clients: Clients, max: usize, until: Timestamp) -> Claim {
    Claim {
        queue: name(queue),
        clients,
        max,
        max_bytes: usize::MAX,
        until,
        behind: Vec::new(),
        principal: "tester".to_owned(),
    }
}

/// An event of a client into queues; its body is its number.
pub(crate) fn entry(n: u64, client: &str, queues: &[(&str, LaneKey)]) -> NewEntry {
    NewEntry {
        event_id: EventId(Uuid::from_u128(u128::from(n) + 1)),
        remembered: None,
        event_type: "a.b".parse().unwrap(),
        client: client.parse().unwrap(),
        trace: Uuid::from_u128((u128::from(n) << 64) + 7),
        accepted_at: at(0),
        principal: "key:1".to_owned(),
        queues: queues.iter().map(|(queue, key)| (name(queue), key.clone())).collect(),
        body: n.to_string().into_bytes().into(),
    }
}

/// The same event, remembered by its id.
pub(crate) fn named(entry: NewEntry) -> NewEntry {
    NewEntry { remembered: Some(entry.event_id.0), ..entry }
}

pub(crate) fn key(key: &str) -> LaneKey {
    LaneKey::Key(key.to_owned())
}

/// The numbers of events, from their bodies.
pub(crate) fn numbers(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| number(&delivery.body)).collect()
}

pub(crate) fn number(body: &[u8]) -> u64 {
    std::str::from_utf8(body).unwrap().parse().unwrap()
}
