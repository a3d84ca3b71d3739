//! What can go wrong with a connection.

/// The kinds of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The broker is away, silent, or ended the connection.
    Unavailable,
    /// The broker does not let us: wrong credentials, another name, or a right that is
    /// missing.
    Refused,
    /// The broker does not follow the protocol.
    Broken,
    /// The settings cannot work.
    Invalid,
}

/// An error of a connection.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// An error of this kind; `message` is a lowercase fragment, never with credentials.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    pub(crate) fn broken(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Broken, message)
    }

    /// Which kind it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}
