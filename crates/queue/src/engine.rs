//! The port that a storage engine fills, and what it promises.
//!
//! ## Lanes
//! A task queue is divided into **lanes**, one per (client, key) that has
//! unsettled deliveries; a stream is one lane. Within a lane deliveries are
//! handed out in order of position. A lane is in one of three states:
//!
//! - *ready*: its first delivery may be claimed;
//! - *leased*: some of its first deliveries are with one consumer; nobody else
//!   gets anything of the lane until every one of them is settled or the
//!   lease ran out;
//! - *delayed*: its first delivery waits for its next attempt.
//!
//! When the last held delivery of a lane is settled, the lane becomes ready,
//! delayed (a delivery of it was returned with a pause) or disappears (nothing
//! is left).
//!
//! Only who holds a lane can be handed more of it ([`Claim::behind`]): what
//! follows comes under the same lease, so that order and consumer stay. The
//! lease ends with the claim's then, unless it ends later already, and what was
//! handed out since it began is one attempt each, as ever. A lane with a
//! delivery that waits for its next attempt gives nothing until then.
//!
//! ## Fairness
//! A claim goes over the clients that have a ready lane, the one served
//! longest ago first; of a client it takes the lane whose first delivery is
//! the oldest. One visit takes successive deliveries of that one lane, at most
//! `max / (number of clients with a ready lane)` and at least one. A client
//! that was just served goes behind all others, and keeps that place while it has
//! unsettled deliveries, also while none of its lanes is ready; one that had
//! none goes before the client served last and behind those that wait longer.
//! So a client with one event waits at most one round over the active clients,
//! whatever the others have queued; and with one other client, it is next.
//!
//! ## Attempts
//! A claim counts one attempt on every delivery it hands out, durably, before
//! the consumer sees it. Returning a delivery (retry or expiry) returns those
//! behind it in the same lease as well; their attempt is taken back, because
//! nobody says that they were tried. [`QueueDef::attempts`] bounds attempts:
//! a retry or expiry of the last one dead-letters the delivery, and the lane
//! goes on with the next.
//!
//! In detail: a retry or expiry returns those behind it also when it
//! dead-letters; [`Settlement::Fail`] leaves those behind it with the consumer;
//! [`Settlement::Release`] takes back its own attempt as well. An expired lease
//! is an attempt of its first held delivery only, without a further pause: the
//! lease was one. A settlement at or after the end of its lease is `LeaseLost`,
//! whether or not [`Op::Expire`] ran meanwhile.
//!
//! ## Durability
//! [`Engine::commit`] applies all operations in order, in one transaction, and
//! returns after that is durable as far as [`Capabilities::durability`] says.
//! If it returns an error, nothing of it happened. An operation that is
//! refused by itself (an `Err` in its outcome) changes nothing and does not
//! disturb the others.
//!
//! ## Several processes
//! Where the capabilities say so ([`Capabilities::shared`]), engines of several processes
//! work on the same data at once, and everything above holds across them: commits are
//! applied one after the other, whoever makes them, and a reader of a stream that saw
//! a position never sees a lower one appear later. What one does the others are told
//! within a second ([`Engine::elsewhere`]).
//!
//! ## Cost
//! No operation's cost grows with the number of waiting deliveries, of
//! remembered ids or of dead letters. Space of settled deliveries, expired ids
//! and steps is used again.
//!
//! ## Trace steps
//! Operations on task queues write their [steps](orderwire_types::step::Step) in the same transaction:
//! `accepted` and `queued` (one per task queue) at the append, `attempt` when a lease ends
//! (`ok`, `retry`, `failed`, `expired`, with attempt, duration since a claim last handed out of
//! the lane, and cause), `dead-lettered`, `edited`, `replayed`, `discarded`. Appends to streams write none:
//! their stamps travel with the event and the stream's worker records them
//! with its effect; only their failures write steps.

mod appended;
mod elsewhere;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use orderwire_types::queue::QueueDef;
use orderwire_types::scope::Clients;
use orderwire_types::{Client, EventId, EventType, QueueName};
use uuid::Uuid;

pub use self::appended::{Appended, waiting_steps};
pub use self::elsewhere::Elsewhere;
use crate::error::Error;
use crate::model::{
    DeadFilter, DeadPage, DeadRefs, Delivery, DeliveryId, Entry, Figures, Position, QueueState, Settlement,
    TraceView,
};

/// What survives when an acknowledged commit is followed by a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// The end of the process, also by `kill -9`.
    Process,
    /// The loss of power as well (synchronised to the device).
    Power,
}

/// What an engine can do, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What an acknowledged commit survives.
    pub durability: Durability,
    /// Whether several processes may use the same data at once.
    pub shared: bool,
}

/// Where a queue's definition comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration (and the defaults): replaced at every start.
    Configuration,
    /// A call: stays until it is changed by a call.
    Call,
}

/// One operation of a commit.
#[derive(Clone, Debug)]
pub enum Op {
    /// Append events to their queues.
    Append(Append),
    /// Dead-letter for one queue what came in for it and can never be a delivery of it.
    /// Answered as an append of one entry.
    Reject(Reject),
    /// Hand out deliveries under a lease.
    Claim(Claim),
    /// Settle one delivery.
    Settle(Settle),
    /// Move the end of leases.
    Extend {
        /// The queue.
        queue: QueueName,
        /// The deliveries; each one's whole lane is extended.
        delivery: DeliveryId,
        /// Clients that the caller may touch.
        clients: Clients,
        /// The new end.
        until: Timestamp,
    },
    /// Return what leases that ran out held, and make delayed lanes ready
    /// whose time has come; at most `limit` lanes, and fewer when many bytes
    /// become dead letters: [`Committed::next_expiry`] is not later than now then.
    Expire {
        /// At most this many lanes.
        limit: usize,
    },
    /// A stream's reader is done with everything up to and including `to`:
    /// the entries' space is free. An earlier position changes nothing; one that
    /// was never given out is refused as `Conflict`, because it is of another
    /// queue and says nothing of these entries.
    Advance {
        /// The stream.
        queue: QueueName,
        /// The last entry that is done.
        to: Position,
    },
    /// Dead-letter one entry of a stream, leaving those around it.
    Bury {
        /// The stream.
        queue: QueueName,
        /// The entry.
        position: Position,
        /// How many attempts it had.
        attempts: u32,
        /// Why.
        cause: String,
    },
    /// Stop or resume handing out leases, and the entries of a stream.
    Pause {
        /// The queue.
        queue: QueueName,
        /// Stopped?
        paused: bool,
    },
    /// Put dead letters back at the end of their queue: same event, same
    /// trace, attempts from the beginning; each at most once.
    Replay {
        /// Which. Ids that are gone are passed over.
        ids: Vec<i64>,
        /// Who asked, for the trace.
        principal: String,
    },
    /// Put other content into a dead letter: the same event, the same cause and
    /// attempts. Refused as `NotFound` when the letter is gone or another
    /// client's, as `Conflict` when its body is not the one that was seen.
    Edit(Edit),
    /// Forget dead letters.
    Discard {
        /// Which. Ids that are gone are passed over.
        ids: Vec<i64>,
        /// Who asked, for the trace.
        principal: String,
        /// Why, for the trace.
        reason: String,
    },
    /// Drop what is past its retention, a bounded piece at a time.
    Sweep(Sweep),
}

/// Events that become durable together or not at all.
#[derive(Clone, Debug)]
pub struct Append {
    /// The events, in order; none where only the request is to be remembered.
    pub entries: Vec<NewEntry>,
    /// The request's identity, when its caller named it (`Idempotency-Key`).
    pub request: Option<NamedRequest>,
}

/// A request that its caller named. A second one of the same id and
/// fingerprint appends nothing and is answered as the first; another
/// fingerprint is [`crate::ErrorKind::IdempotencyConflict`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedRequest {
    /// Derived from (principal, route, key).
    pub id: Uuid,
    /// A hash of the body.
    pub fingerprint: [u8; 16],
}

/// An event on its way into its queues.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// Its id.
    pub event_id: EventId,
    /// The name under which it is remembered, until [`Sweep::remembered_before`] passes
    /// it, so that a repetition under the same name appends nothing: of an event that
    /// its producer named its id. `None`: it is not remembered.
    pub remembered: Option<Uuid>,
    /// Its type.
    pub event_type: EventType,
    /// Whose it is.
    pub client: Client,
    /// Its trace.
    pub trace: Uuid,
    /// When the edge accepted it.
    pub accepted_at: Timestamp,
    /// Who published it.
    pub principal: String,
    /// The queues that take it, at least one, each with the key of its lane.
    pub queues: Vec<(QueueName, LaneKey)>,
    /// The storage form.
    pub body: Bytes,
}

/// What can never be a delivery of its queue.
#[derive(Clone, Debug)]
pub struct Reject {
    /// It, for exactly one queue.
    pub entry: NewEntry,
    /// Why, in plain words.
    pub cause: String,
}

/// What chooses the lane of an event within a queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LaneKey {
    /// The one lane of a stream.
    Stream,
    /// The lane of this key of the event's client.
    Key(String),
    /// A lane of its own.
    Alone,
}

/// A request for deliveries.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The queue.
    pub queue: QueueName,
    /// Only of these clients. A stream wants [`Clients::All`].
    pub clients: Clients,
    /// At most this many, at least 1.
    pub max: usize,
    /// The delivery whose body reaches this many bytes, all bodies together,
    /// is the last one.
    pub max_bytes: usize,
    /// When the lease runs out.
    pub until: Timestamp,
    /// Deliveries that the claimer holds: of what is left of `max` it gets what
    /// follows in their lanes, in this order, each lane at most its share of
    /// what is left, and at least one. Those that are not held under this
    /// lease any more, or are outside the clients, are passed over.
    pub behind: Vec<DeliveryId>,
    /// Who claims, for the trace.
    pub principal: String,
}

/// The settlement of one delivery.
#[derive(Clone, Debug)]
pub struct Settle {
    /// The queue.
    pub queue: QueueName,
    /// The delivery.
    pub delivery: DeliveryId,
    /// Clients that the caller may touch.
    pub clients: Clients,
    /// How.
    pub settlement: Settlement,
}

/// Other content of a dead letter.
#[derive(Clone, Debug)]
pub struct Edit {
    /// Which.
    pub id: i64,
    /// Clients that the caller may touch.
    pub clients: Clients,
    /// The body that the caller saw: of two who saw the same, the second is refused.
    pub seen: Bytes,
    /// The body in its place, of the same event.
    pub body: Bytes,
    /// Who asked, for the trace.
    pub principal: String,
    /// Why, for the trace.
    pub reason: Option<String>,
}

/// What is past its retention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Remembered ids from before.
    pub remembered_before: Timestamp,
    /// Trace steps from before.
    pub steps_before: Timestamp,
    /// Dead letters from before.
    pub dead_before: Timestamp,
    /// At most this many rows of each.
    pub limit: usize,
}

/// What an operation did.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Of [`Op::Append`] and [`Op::Reject`]: for each entry whether it was new. A repeated one is
    /// false, and nothing was appended for it.
    Appended(Vec<bool>),
    /// Of [`Op::Claim`].
    Claimed(Vec<Delivery>),
    /// Of [`Op::Settle`]: what became of the delivery.
    Settled(Settled),
    /// Of [`Op::Replay`], [`Op::Discard`], [`Op::Sweep`] and [`Op::Expire`]: how many
    /// (of `Sweep`: fewer than `limit` means that nothing is left to do now).
    Count(u64),
    /// Of the others.
    Done,
}

/// What became of a settled delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is done.
    Acked,
    /// It comes again, after this pause.
    Returned(Duration),
    /// It is a dead letter.
    Dead,
}

/// The result of a commit.
#[derive(Debug, Default)]
pub struct Committed {
    /// One per operation, in order.
    pub outcomes: Vec<Result<Outcome, Error>>,
    /// Queues in which a lane became ready or an entry arrived: wake their consumers.
    pub ready: Vec<QueueName>,
    /// When the next lease runs out or delayed lane becomes ready: run
    /// [`Op::Expire`] then.
    pub next_expiry: Option<Timestamp>,
}

/// At most this many waiting entries of streams are looked at for what no
/// index tells.
pub const LOOK: usize = 20_000;

/// A storage engine of queues.
///
/// Calls may come from many tasks at once; commits are applied one after the
/// other. `now` is the caller's clock; an engine has none of its own.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// What this engine can do.
    fn capabilities(&self) -> Capabilities;

    /// Makes these queues exist with these settings. A queue of
    /// [`Origin::Configuration`] that is not among them is bound to nothing
    /// from now on, keeps what it holds, and disappears when it is empty; unless
    /// another process that runs on the same data has declared it so: then it stays
    /// as it is, because events would be lost that that one counts on.
    ///
    /// # Errors
    /// `Conflict` when a queue that holds deliveries is of the other kind.
    async fn declare(&self, queues: &[(QueueName, QueueDef)], origin: Origin) -> Result<(), Error>;

    /// Every queue with its settings, however it came to be.
    async fn definitions(&self) -> Result<Vec<(QueueName, QueueDef)>, Error>;

    /// Applies the operations in one durable transaction. See the module.
    /// After one that failed, one without operations shows whether the storage
    /// works again: it writes, too.
    ///
    /// # Errors
    /// `Unavailable` or `Damaged`: nothing of it happened.
    async fn commit(&self, ops: Vec<Op>, now: Timestamp) -> Result<Committed, Error>;

    /// Waits until something happened through another process, and tells it; what happened
    /// before the engine was opened is not told. May be given up at any moment without
    /// losing anything. One caller at a time. An engine that is not shared has nothing to
    /// tell, ever.
    async fn elsewhere(&self) -> Elsewhere {
        std::future::pending().await
    }

    /// The state of one queue.
    async fn state(&self, queue: &QueueName) -> Result<QueueState, Error>;

    /// The states of all queues in order of name, each as [`Self::state`] tells it
    /// and all of one moment, in one pass: who wants them all asks once, however
    /// many there are.
    async fn states(&self) -> Result<Vec<QueueState>, Error>;

    /// Of all queues what [`Self::states`] tells of them in figures, in the same order. Costs
    /// no look into a queue: a start waits for it, and it is asked for again every few seconds.
    async fn figures(&self) -> Result<Vec<(QueueName, Figures)>, Error>;

    /// The first unsettled deliveries of these clients in order of position,
    /// without a lease; the attempt is the number of those so far. The entry
    /// whose body reaches `max_bytes`, all bodies together, is the last one. Of a
    /// stream and some clients an engine looks at the first [`LOOK`] entries only.
    async fn peek(
        &self,
        queue: &QueueName,
        clients: &Clients,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u32, Entry)>, Error>;

    /// Entries of a stream after `after`, in order: at most `max` and, beyond
    /// the first, at most `max_bytes`. A paused stream gives none.
    async fn read(
        &self,
        queue: &QueueName,
        after: Position,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, Error>;

    /// Dead letters of these clients after the id `after`, by ascending id. The
    /// letter whose body reaches `max_bytes`, all bodies together, is the last
    /// one. Looks at a bounded number of letters, so that a page may be short,
    /// or empty, although there is a next one.
    async fn dead(
        &self,
        clients: &Clients,
        filter: &DeadFilter,
        after: i64,
        max: usize,
        max_bytes: usize,
    ) -> Result<DeadPage, Error>;

    /// The same letters without what is in them.
    async fn dead_refs(
        &self,
        clients: &Clients,
        filter: &DeadFilter,
        after: i64,
        max: usize,
    ) -> Result<DeadRefs, Error>;

    /// What is known of a trace, within these clients, from memory of at least
    /// the retention: the steps of its task deliveries, and those of its entries
    /// that still wait in a stream ([`waiting_steps`]; `accepted` once per
    /// event), as far as a look at [`LOOK`] entries finds them
    /// ([`TraceView::partial`]).
    async fn trace(&self, trace: Uuid, clients: &Clients) -> Result<TraceView, Error>;
}
