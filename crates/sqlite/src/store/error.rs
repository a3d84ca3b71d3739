//! Errors of SQLite and of the files, in the words of the store's contract.

use std::path::Path;

use orderwire_store::{Error, ErrorKind};

use crate::error as file;

/// Why a write was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The call is refused; the engine is well.
    Refused(Error),
    /// The engine failed: its transaction is taken back.
    Engine(rusqlite::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error)
    }
}

/// What SQLite said about a file, as the store's error.
pub(super) fn from_sqlite(file: &Path, what: &str, error: &rusqlite::Error) -> Error {
    from_file(&file::Error::sqlite(file, what, error))
}

/// An error of the plumbing, as the store's error.
pub(super) fn from_file(error: &file::Error) -> Error {
    let kind = match error.kind() {
        file::ErrorKind::Damaged => ErrorKind::Damaged,
        file::ErrorKind::Locked | file::ErrorKind::Later | file::ErrorKind::Unavailable => {
            ErrorKind::Unavailable
        }
    };
    Error::new(kind, error.to_string())
}

pub(super) fn not_found(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::NotFound, message)
}

pub(super) fn conflict(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Conflict, message)
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

/// A value in the file that only damage can have put there.
pub(super) fn damaged_value(column: usize, what: &str) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, what.to_owned(), rusqlite::types::Type::Blob)
}
