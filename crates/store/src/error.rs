//! What can go wrong with the store.

/// The kinds of error, each with one meaning at every edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No such object (or it is outside the scope).
    NotFound,
    /// What is asked contradicts what is there.
    Conflict,
    /// A value, column or definition is wrong.
    Invalid,
    /// A query took longer or more than it may.
    TooCostly,
    /// The engine cannot answer or promise durability now: nothing was
    /// changed; the same call may succeed later.
    Unavailable,
    /// The stored data is damaged: nothing more is written until someone looks.
    Damaged,
}

/// An error of the store.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    entry: Option<usize>,
}

impl Error {
    /// An error of this kind; `message` is a lowercase fragment naming the
    /// operation and its input.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), entry: None }
    }

    /// The same error, caused by this entry of a batch.
    pub fn at_entry(mut self, entry: usize) -> Self {
        self.entry = Some(entry);
        self
    }

    /// Which kind it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The entry of the batch that caused it, if one did.
    pub fn entry(&self) -> Option<usize> {
        self.entry
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable)
    }
}
