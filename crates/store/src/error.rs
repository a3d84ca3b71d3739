//! What can go wrong with the store.

use orderwire_types::Failure;
/// The kinds of error.
pub use orderwire_types::FailureKind as ErrorKind;

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

impl Failure for Error {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}
