//! What the queue hands out and takes in.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use orderwire_types::queue::{Kind, QueueDef};
use orderwire_types::step::Step;
use orderwire_types::{Client, EventId, EventType, QueueName};
use uuid::Uuid;

/// The position of an event: its place in the arrival order of the whole
/// engine. Grows by at least one per event, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub i64);

/// One delivery under one lease. Its text form is opaque to consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryId {
    /// The lane (see [`crate::engine`]).
    pub lane: i64,
    /// The event.
    pub position: Position,
    /// The lease: a later lease of the same delivery has another number.
    pub lease: i64,
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}-{:x}", self.lane, self.position.0, self.lease)
    }
}

impl FromStr for DeliveryId {
    type Err = InvalidDeliveryId;

    fn from_str(text: &str) -> Result<Self, InvalidDeliveryId> {
        let mut parts =
            text.splitn(3, '-').map(|part| i64::from_str_radix(part, 16).ok().filter(|n| *n >= 0));
        let mut next = || parts.next().flatten().ok_or(InvalidDeliveryId);
        Ok(Self { lane: next()?, position: Position(next()?), lease: next()? })
    }
}

/// A text that no lease ever handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a delivery id that a lease handed out")]
pub struct InvalidDeliveryId;

/// A delivery in the hands of a consumer.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What settles it.
    pub id: DeliveryId,
    /// The attempt, from 1.
    pub attempt: u32,
    /// When the lease runs out.
    pub leased_until: Timestamp,
    /// The event in its storage form ([`orderwire_types::Event::decode`]).
    pub body: Bytes,
}

/// An entry of a stream.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its position.
    pub position: Position,
    /// The event in its storage form.
    pub body: Bytes,
}

/// How a consumer settles a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Done.
    Ack,
    /// Try again, after `delay` or the queue's back-off; dead-lettered when it
    /// was the last attempt.
    Retry {
        /// Instead of the queue's back-off.
        delay: Option<Duration>,
        /// Why, in plain words.
        cause: String,
    },
    /// Dead-letter at once: trying again cannot help.
    Fail {
        /// Why, in plain words.
        cause: String,
    },
    /// Return it, and those behind it in the same lease, as if they had never
    /// been handed out: attempts taken back, no pause, no step. For deliveries
    /// that nobody tried: the consumer went away or is stopping.
    Release,
}

/// What a queue holds, and whether it is paused: of its [`QueueState`] what is known
/// without a search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// As [`QueueState::ready`].
    pub ready: u64,
    /// As [`QueueState::in_flight`].
    pub in_flight: u64,
    /// As [`QueueState::delayed`].
    pub delayed: u64,
    /// As [`QueueState::dead`].
    pub dead: u64,
    /// As [`QueueState::paused`].
    pub paused: bool,
}

/// The state of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueState {
    /// Its name.
    pub name: QueueName,
    /// Its settings.
    pub def: QueueDef,
    /// Deliveries that may be leased now or as soon as those before them of
    /// the same key are settled.
    pub ready: u64,
    /// Deliveries under a lease.
    pub in_flight: u64,
    /// Deliveries that wait for their next attempt.
    pub delayed: u64,
    /// Dead letters.
    pub dead: u64,
    /// When the oldest unsettled event was accepted.
    pub oldest: Option<Timestamp>,
    /// Whether leases are handed out.
    pub paused: bool,
}

impl QueueState {
    /// Task or stream.
    pub fn kind(&self) -> Kind {
        self.def.kind
    }
}

/// A delivery that used up its attempts or failed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its id, an opaque text at the edge.
    pub id: i64,
    /// The queue that gave up.
    pub queue: QueueName,
    /// The event.
    pub event_id: EventId,
    /// Its type.
    pub event_type: EventType,
    /// Whose it is.
    pub client: Client,
    /// Its trace.
    pub trace: Uuid,
    /// How many attempts it had.
    pub attempts: u32,
    /// The last cause.
    pub cause: String,
    /// When it was dead-lettered.
    pub died_at: Timestamp,
    /// The event in its storage form.
    pub body: Bytes,
}

/// Which dead letters; every given condition must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadFilter {
    /// These only.
    pub ids: Option<Vec<i64>>,
    /// Of this queue.
    pub queue: Option<QueueName>,
    /// Of this type, a pattern.
    pub event_type: Option<orderwire_types::Pattern>,
    /// Of this client.
    pub client: Option<Client>,
    /// Whose cause contains this text (ASCII case aside).
    pub cause: Option<String>,
    /// Dead-lettered at or after.
    pub since: Option<Timestamp>,
    /// Dead-lettered before.
    pub until: Option<Timestamp>,
}

/// A page of dead letters, by ascending id.
#[derive(Clone, Debug, Default)]
pub struct DeadPage {
    /// The letters.
    pub items: Vec<DeadLetter>,
    /// The id after which the next page begins.
    pub next: Option<i64>,
}

/// Which letter it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadRef {
    /// Its id.
    pub id: i64,
    /// The queue that gave up.
    pub queue: QueueName,
    /// The length of its body in bytes.
    pub bytes: usize,
}

/// A page of dead letters without what is in them, by ascending id.
#[derive(Clone, Debug, Default)]
pub struct DeadRefs {
    /// The letters.
    pub items: Vec<DeadRef>,
    /// The id after which the next page begins.
    pub next: Option<i64>,
}

/// What the queue knows of a trace.
#[derive(Clone, Debug, Default)]
pub struct TraceView {
    /// Whose it is; `None` when the queue knows nothing of the trace.
    pub client: Option<Client>,
    /// The steps, in order of time.
    pub steps: Vec<Step>,
    /// Deliveries that are not settled yet.
    pub open: u64,
    /// Deliveries that are dead letters now.
    pub dead: u64,
    /// Whether more waits in streams than was looked at: an event of the trace
    /// may be among that.
    pub partial: bool,
}

impl TraceView {
    /// Whether the same step of the same event is there already.
    pub fn tells(&self, step: &Step) -> bool {
        let same = |other: &Step| other.step == step.step && other.event_id == step.event_id;
        self.steps.iter().any(same)
    }
}
