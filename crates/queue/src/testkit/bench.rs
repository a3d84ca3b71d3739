//! What the cases work with: an engine, a clock in the hand, and short ways to
//! ask for things.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use orderwire_types::queue::{Backoff, Format, Key, Kind, QueueDef};
use orderwire_types::scope::Clients;
use orderwire_types::testkit::event;
use orderwire_types::{Client, Event, EventId, QueueName, TraceId};
use uuid::Uuid;

use super::Factory;
use crate::clock::after;
use crate::engine::{
    Append, Claim, Committed, Edit, Engine, LaneKey, NewEntry, Op, Origin, Outcome, Settle, Settled,
};
use crate::error::{Error, ErrorKind};
use crate::model::{DeadFilter, DeadLetter, Delivery, DeliveryId, Position, Settlement};

/// The result of a case, and of a step in it.
pub(super) type Checked<T = ()> = Result<T, String>;

/// How long a lease is, unless a case says otherwise.
pub(super) const LEASE: Duration = Duration::from_secs(30);
/// How many attempts the queues of the suite have.
pub(super) const ATTEMPTS: u32 = 3;

/// An engine under test with the queues `tasks` and `others` (task) and
/// `stream`, all of the configuration.
pub struct Bench {
    factory: Arc<dyn Factory>,
    engine: Option<Arc<dyn Engine>>,
    pub(super) now: Timestamp,
    serial: u128,
}

/// A delivery, with the label of its event.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) id: DeliveryId,
    pub(super) attempt: u32,
    pub(super) label: String,
}

macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err(format!($($message)+));
        }
    };
}

macro_rules! ensure_eq {
    ($found:expr, $expected:expr, $($message:tt)+) => {
        match (&$found, &$expected) {
            (found, expected) if found != expected => {
                let what = format_args!($($message)+);
                return Err(format!("{what}: found {found:?} instead of {expected:?}"));
            }
            _ => {}
        }
    };
}

pub(super) use {ensure, ensure_eq};

impl Bench {
    pub(super) async fn open(factory: Arc<dyn Factory>) -> Checked<Self> {
        let engine = factory.open().await?;
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let bench = Self { factory, engine: Some(engine), now, serial: 0 };
        bench.engine().declare(&configured(), Origin::Configuration).await.map_err(say)?;
        Ok(bench)
    }

    /// Closes the engine and opens it anew on the same place.
    pub(super) async fn reopen(&mut self) -> Checked {
        self.engine = None;
        self.engine = Some(self.factory.open().await?);
        self.engine().declare(&configured(), Origin::Configuration).await.map_err(say)
    }

    /// Opens the engine once more, while it is open: what another process would do.
    pub(super) async fn another(&self) -> Checked<Arc<dyn Engine>> {
        self.factory.open().await
    }

    pub(super) fn engine(&self) -> &dyn Engine {
        self.engine.as_deref().expect("opened")
    }

    /// Lets time pass, and what is due happen.
    pub(super) async fn pass(&mut self, time: Duration) -> Checked<u64> {
        self.now = after(self.now, time);
        self.count(Op::Expire { limit: 1_000 }).await
    }

    pub(super) async fn commit(&self, ops: Vec<Op>) -> Checked<Committed> {
        let count = ops.len();
        let committed = self.engine().commit(ops, self.now).await.map_err(say)?;
        ensure_eq!(committed.outcomes.len(), count, "outcomes of a commit");
        Ok(committed)
    }

    /// Commits one operation; its own refusal is the inner error.
    pub(super) async fn try_op(&self, op: Op) -> Checked<Result<Outcome, Error>> {
        Ok(self.commit(vec![op]).await?.outcomes.remove(0))
    }

    pub(super) async fn op(&self, op: Op) -> Checked<Outcome> {
        self.try_op(op).await?.map_err(say)
    }

    pub(super) async fn count(&self, op: Op) -> Checked<u64> {
        match self.op(op).await? {
            Outcome::Count(count) => Ok(count),
            other => Err(format!("a count was due, not {other:?}")),
        }
    }

    /// A new event for `tasks`.
    pub(super) fn entry(&mut self, label: &str, client: &str, key: &str) -> NewEntry {
        self.serial += 1;
        let id = EventId(Uuid::from_u128(0x7000_0000 + self.serial));
        let event = Event {
            source: label.to_owned(),
            key: Some(key.to_owned()),
            trace: TraceId::from_uuid(Uuid::from_u128(0x9000_0000 + self.serial)),
            accepted_at: self.now,
            ..event(id, "test.event", client)
        };
        NewEntry {
            event_id: id,
            remembered: None,
            event_type: event.event_type.clone(),
            client: event.client.clone(),
            trace: event.trace.id,
            accepted_at: self.now,
            principal: event.principal.clone(),
            queues: vec![(tasks(), LaneKey::Key(key.to_owned()))],
            body: Bytes::from(event.encode()),
        }
    }

    /// A new event for `stream`.
    pub(super) fn stream_entry(&mut self, label: &str, client: &str) -> NewEntry {
        NewEntry { queues: vec![(stream(), LaneKey::Stream)], ..self.entry(label, client, client) }
    }

    /// Appends to `tasks`: (label, client, key) of each event.
    pub(super) async fn put(&mut self, events: &[(&str, &str, &str)]) -> Checked {
        let entries = events.iter().map(|(label, client, key)| self.entry(label, client, key)).collect();
        let new = self.append(entries).await?;
        ensure!(new.iter().all(|new| *new), "a new event was taken for a repeated one");
        Ok(())
    }

    pub(super) async fn append(&self, entries: Vec<NewEntry>) -> Checked<Vec<bool>> {
        let count = entries.len();
        match self.op(Op::Append(Append { entries, request: None })).await? {
            Outcome::Appended(new) if new.len() == count => Ok(new),
            other => Err(format!("an append of {count} was answered by {other:?}")),
        }
    }

    /// Leases from `tasks`, for all clients.
    pub(super) async fn claim(&self, max: usize) -> Checked<Vec<Got>> {
        self.claim_from(&tasks(), Clients::All, max).await
    }

    pub(super) async fn claim_from(
        &self,
        queue: &QueueName,
        clients: Clients,
        max: usize,
    ) -> Checked<Vec<Got>> {
        self.claim_bytes(queue, clients, max, usize::MAX).await
    }

    pub(super) async fn claim_bytes(
        &self,
        queue: &QueueName,
        clients: Clients,
        max: usize,
        max_bytes: usize,
    ) -> Checked<Vec<Got>> {
        self.claim_as(Claim { clients, max_bytes, ..self.claim_of(queue, max) }).await
    }

    /// Leases from `tasks`, going on with the lanes of what is held.
    pub(super) async fn claim_behind(&self, max: usize, held: &[&Got]) -> Checked<Vec<Got>> {
        let behind = held.iter().map(|got| got.id).collect();
        self.claim_as(Claim { behind, ..self.claim_of(&tasks(), max) }).await
    }

    /// A claim for all clients without a bound of bytes.
    pub(super) fn claim_of(&self, queue: &QueueName, max: usize) -> Claim {
        Claim {
            queue: queue.clone(),
            clients: Clients::All,
            max,
            max_bytes: usize::MAX,
            until: after(self.now, LEASE),
            behind: Vec::new(),
            principal: "consumer".to_owned(),
        }
    }

    pub(super) async fn claim_as(&self, claim: Claim) -> Checked<Vec<Got>> {
        let max = claim.max;
        match self.op(Op::Claim(claim)).await? {
            Outcome::Claimed(deliveries) => {
                ensure!(
                    deliveries.len() <= max,
                    "{} deliveries, at most {max} were wanted",
                    deliveries.len()
                );
                deliveries.iter().map(got).collect()
            }
            other => Err(format!("a claim was answered by {other:?}")),
        }
    }

    pub(super) async fn settle(&self, got: &Got, settlement: Settlement) -> Checked<Result<Settled, Error>> {
        self.settle_in(&tasks(), Clients::All, got, settlement).await
    }

    pub(super) async fn settle_in(
        &self,
        queue: &QueueName,
        clients: Clients,
        got: &Got,
        settlement: Settlement,
    ) -> Checked<Result<Settled, Error>> {
        let settle = Settle { queue: queue.clone(), delivery: got.id, clients, settlement };
        match self.try_op(Op::Settle(settle)).await? {
            Ok(Outcome::Settled(settled)) => Ok(Ok(settled)),
            Ok(other) => Err(format!("a settlement was answered by {other:?}")),
            Err(err) => Ok(Err(err)),
        }
    }

    pub(super) async fn ack(&self, got: &Got) -> Checked {
        let settled = self.settle(got, Settlement::Ack).await?.map_err(say)?;
        ensure_eq!(settled, Settled::Acked, "ack of {}", got.label);
        Ok(())
    }

    /// Returns a delivery, to be tried again after this pause.
    pub(super) async fn nack(&self, got: &Got, delay: Duration) -> Checked<Settled> {
        let retry = Settlement::Retry { delay: Some(delay), cause: "try again".to_owned() };
        self.settle(got, retry).await?.map_err(say)
    }

    /// Dead-letters a delivery at once.
    pub(super) async fn fail(&self, got: &Got, cause: &str) -> Checked<Settled> {
        self.settle(got, Settlement::Fail { cause: cause.to_owned() }).await?.map_err(say)
    }

    pub(super) async fn dead(&self, filter: &DeadFilter) -> Checked<Vec<DeadLetter>> {
        Ok(self.engine().dead(&Clients::All, filter, 0, 1_000, usize::MAX).await.map_err(say)?.items)
    }

    /// Reads the stream: (position, label) of each entry.
    pub(super) async fn read(&self, after: Position, max: usize) -> Checked<Vec<(Position, String)>> {
        let entries = self.engine().read(&stream(), after, max, usize::MAX).await.map_err(say)?;
        entries.iter().map(|entry| Ok((entry.position, label(&entry.body)?))).collect()
    }
}

pub(super) fn tasks() -> QueueName {
    "tasks".parse().expect("a queue name")
}

pub(super) fn others() -> QueueName {
    "others".parse().expect("a queue name")
}

pub(super) fn stream() -> QueueName {
    "stream".parse().expect("a queue name")
}

/// A queue of this kind for the events of this pattern, with three attempts.
pub fn def(kind: Kind, pattern: &str) -> QueueDef {
    QueueDef {
        kind,
        types: vec![pattern.parse().expect("a pattern")],
        key: Key::default(),
        format: Format::default(),
        attempts: ATTEMPTS,
        backoff: Backoff::default(),
    }
}

pub(super) fn configured() -> Vec<(QueueName, QueueDef)> {
    vec![
        (tasks(), def(Kind::Task, "test.#")),
        (others(), def(Kind::Task, "test.#")),
        (stream(), def(Kind::Stream, "rows.#")),
    ]
}

pub(super) fn only(clients: &[&str]) -> Clients {
    let clients: BTreeSet<Client> = clients.iter().map(|client| client.parse().expect("a client")).collect();
    Clients::Only(clients)
}

pub(super) fn labels(got: &[Got]) -> Vec<&str> {
    got.iter().map(|got| got.label.as_str()).collect()
}

/// The (label, attempt) of each delivery.
pub(super) fn attempts(got: &[Got]) -> Vec<(&str, u32)> {
    got.iter().map(|got| (got.label.as_str(), got.attempt)).collect()
}

/// Puts `body` in place of what was `seen` of a letter, for all clients.
pub(super) fn edit(letter: &DeadLetter, seen: &Bytes, body: &Bytes) -> Op {
    Op::Edit(Edit {
        id: letter.id,
        clients: Clients::All,
        seen: seen.clone(),
        body: body.clone(),
        principal: "operator".to_owned(),
        reason: Some("it was wrong".to_owned()),
    })
}

pub(super) fn label(body: &[u8]) -> Checked<String> {
    Event::decode(body).map(|event| event.source).map_err(|err| format!("a damaged body came back: {err}"))
}

/// Whether a call was refused for this reason.
pub(super) fn refused<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind, what: &str) -> Checked {
    match result {
        Err(err) if err.kind() == kind => Ok(()),
        other => Err(format!("{what}: {kind:?} was due, not {other:?}")),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the argument of map_err")]
pub(super) fn say(err: Error) -> String {
    format!("{:?}: {err}", err.kind())
}

fn got(delivery: &Delivery) -> Checked<Got> {
    Ok(Got { id: delivery.id, attempt: delivery.attempt, label: label(&delivery.body)? })
}
