//! What can go wrong with a queue.

use orderwire_types::QueueName;

/// The kinds of error, each with one meaning at every edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No such queue, delivery or dead letter (or it is outside the scope).
    NotFound,
    /// The queue is of the wrong kind or has a worker, a definition contradicts what is there,
    /// or a dead letter changed since it was seen.
    Conflict,
    /// The same `Idempotency-Key` with another body.
    IdempotencyConflict,
    /// No queue takes the event.
    Unroutable,
    /// The queue holds its maximum.
    Full,
    /// The event is more than what carries it to its queues ever takes.
    TooLarge,
    /// As many of these as may run at once are running; nothing was begun.
    Busy,
    /// The lease ran out or the delivery was settled already: reported, not applied.
    LeaseLost,
    /// The engine cannot promise durability now (disk full, locked, shutting
    /// down): nothing was changed; the same call may succeed later.
    Unavailable,
    /// A commit was not confirmed in time: whether it happened is unknown. The
    /// same call is safe to repeat where its events are named.
    Unconfirmed,
    /// The stored data is damaged: nothing more is written until someone looks.
    Damaged,
}

/// An error of the queue.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// An error of this kind; `message` is a lowercase fragment naming the
    /// operation and its input.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Which kind it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later. After [`ErrorKind::Unconfirmed`]
    /// it may also do a second time what happened already.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Unavailable | ErrorKind::Unconfirmed | ErrorKind::Full | ErrorKind::Busy
        )
    }

    /// No queue of this name.
    pub fn no_queue(name: &QueueName) -> Self {
        Self::new(ErrorKind::NotFound, format!("queue {name} does not exist"))
    }
}
