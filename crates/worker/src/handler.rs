//! What a worker's own code is: its handler, and nothing else.

use std::time::Duration;

use async_trait::async_trait;
use orderwire_queue::{Delivery, Position};
use orderwire_types::Event;
use orderwire_types::envelope::Incoming;

/// Handles the deliveries of a task queue.
///
/// Contract: a delivery may come again after it was handled (a crash before its
/// settlement, a lease that ran out), so the effect must happen once by its
/// event id. `handle` may be dropped at any await: when it takes longer than
/// its time-out, when its lease is lost, or when the worker has to stop.
#[async_trait]
pub trait TaskHandler: Send + Sync + 'static {
    /// Handles one delivery. A panic counts as [`Verdict::Retry`].
    async fn handle(&self, task: &Task) -> Verdict;
}

/// A delivery with its event.
#[derive(Clone, Debug)]
pub struct Task {
    /// The lease, with the number of the attempt.
    pub delivery: Delivery,
    /// The event.
    pub event: Event,
}

/// How a delivery ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done.
    Ack,
    /// Trying again may help.
    Retry {
        /// Instead of the queue's back-off.
        after: Option<Duration>,
        /// Why, in plain words.
        cause: String,
    },
    /// Trying again cannot help: a dead letter at once.
    Fail {
        /// Why, in plain words.
        cause: String,
    },
    /// What it is for is away: given back as if it had never been handed out, which
    /// counts as no attempt. It comes again at once, so the handler waits before.
    Release,
}

/// Handles the entries of a stream, and keeps the position of what it handled.
///
/// Contract: the position is stored with the effect, in one transaction. So an
/// entry has its effect once, whenever the process ends. Calls come one at a
/// time. A call may be dropped at any await; then its transaction must either
/// have happened as a whole or not at all.
///
/// A call that panics or outlasts its time is tried again; where that goes on
/// while [`Self::position`] answers at once, an entry is taken to be at fault. So
/// `position` must ask the store itself, by the way of its writes, and give no answer while
/// that is away or does not get on with them.
#[async_trait]
pub trait StreamHandler: Send + Sync + 'static {
    /// The position of the last entry that has its effect or was skipped;
    /// [`Position::default`] before the first.
    ///
    /// # Errors
    /// Always taken as retryable.
    async fn position(&self) -> Result<Position, BatchError>;

    /// Applies a batch, and stores the position of its last entry, together.
    /// `from` is the position that must be stored until then: when another one
    /// is, somebody else reads the same stream, and nothing may be applied.
    ///
    /// # Errors
    /// Nothing of the batch was applied, or it is unknown whether all of it was
    /// (then retryable: the position is read again).
    async fn handle(&self, batch: &[StreamEntry], from: Position) -> Result<(), BatchError>;

    /// Stores the position of an entry that was dead-lettered instead.
    ///
    /// # Errors
    /// Always taken as retryable.
    async fn skip(&self, position: Position) -> Result<(), BatchError>;
}

/// Handles the events of a stream that wait at a broker, which knows no position of ours.
///
/// Contract: that an event had its effect is stored with the effect, in one transaction. So
/// it has its effect once, however often it comes or is tried; one that nothing
/// [names](Incoming::named) is another event each time that it comes. Calls come one at a time. A call may be dropped at any
/// await; then its transaction must either have happened as a whole or not at all. A call
/// that panics or outlasts its time is tried again; where that goes on while
/// [`Self::check`] answers at once, an event is taken to be at fault.
#[async_trait]
pub trait DirectHandler: Send + Sync + 'static {
    /// Applies a batch: which of its events were new, in order.
    ///
    /// # Errors
    /// Nothing of the batch was applied, or it is unknown whether all of it was (then
    /// retryable).
    async fn handle(&self, batch: &[&Incoming]) -> Result<Vec<bool>, BatchError>;

    /// Whether the store answers. It must be asked itself, by the way of its writes: one that
    /// hangs while it writes must not answer.
    ///
    /// # Errors
    /// Always taken as retryable.
    async fn check(&self) -> Result<(), BatchError>;
}

/// An entry of a stream with its event.
#[derive(Clone, Debug)]
pub struct StreamEntry {
    /// Its position.
    pub position: Position,
    /// The event.
    pub event: Event,
}

/// Why a batch was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct BatchError {
    /// The index in the batch of the entry at fault, where it is known.
    pub entry: Option<usize>,
    /// Whether the same batch may go through later: the store is away, busy or
    /// full. Otherwise an entry is at fault.
    pub retryable: bool,
    /// What happened, in plain words.
    pub cause: String,
}

impl BatchError {
    /// The batch may go through later.
    pub fn retryable(cause: impl Into<String>) -> Self {
        Self { entry: None, retryable: true, cause: cause.into() }
    }

    /// This entry can never be applied.
    pub fn entry(index: usize, cause: impl Into<String>) -> Self {
        Self { entry: Some(index), retryable: false, cause: cause.into() }
    }

    /// Some entry can never be applied, and the handler does not know which.
    pub fn batch(cause: impl Into<String>) -> Self {
        Self { entry: None, retryable: false, cause: cause.into() }
    }
}
