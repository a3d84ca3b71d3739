//! What can go wrong with a broker.

use std::time::Duration;

/// The kinds of error, each with one meaning for every broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The broker is away, busy, full or shutting down. Nothing was published; the
    /// same call may succeed later.
    Unavailable,
    /// The connection ended before the confirm, or the confirm did not come in time:
    /// whether the message is there is unknown. Publishing it again may make a second
    /// one with the same id.
    Unconfirmed,
    /// The message can never be taken: its body, or what its headers hold, is too large.
    TooLarge,
    /// No queue takes the message.
    Unroutable,
    /// A queue exists with other arguments than those that were asked for.
    Conflict,
    /// The broker does not let us: wrong credentials, or a right that is missing.
    Refused,
    /// What was asked for is not possible with this broker or these settings.
    Unsupported,
}

/// An error of a broker.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// An error of this kind; `message` is a lowercase fragment naming the operation
    /// and its input, never credentials.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The error of a call that the other side did not answer.
    pub fn late(what: &str, within: Duration) -> Self {
        Self::new(ErrorKind::Unavailable, format!("{what}: no answer within {within:?}"))
    }

    /// The end of everything, which somebody asked for.
    pub fn closed() -> Self {
        Self::new(ErrorKind::Unavailable, "the connection to the broker was closed")
    }

    /// What a publish of so many messages that failed before it began answers to each.
    pub fn for_each(&self, messages: usize) -> Vec<Result<(), Self>> {
        vec![Err(self.clone()); messages]
    }

    /// Which kind it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later, without anybody changing a setting.
    /// After [`ErrorKind::Unconfirmed`] it may also do a second time what happened.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Unconfirmed)
    }
}
