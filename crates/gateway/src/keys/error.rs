//! What can go wrong with the keys that the server makes.

use std::path::Path;

/// The kinds of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The key's file cannot be read or written.
    File,
    /// The store failed.
    Store,
    /// The key cannot be as it was asked for.
    Invalid,
}

/// An error of the key ring.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// Which kind it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn new(kind: ErrorKind, message: &str) -> Self {
        Self { kind, message: message.to_owned() }
    }

    pub(crate) fn file(what: &str, path: &Path, error: &std::io::Error) -> Self {
        Self { kind: ErrorKind::File, message: format!("{what} {}: {error}", path.display()) }
    }
}

impl From<orderwire_store::Error> for Error {
    fn from(error: orderwire_store::Error) -> Self {
        Self { kind: ErrorKind::Store, message: format!("the store of keys: {error}") }
    }
}
