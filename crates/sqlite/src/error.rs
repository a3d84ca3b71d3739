//! What can go wrong with the files of the data folder.

use std::path::Path;

use rusqlite::ErrorCode;

/// The kinds of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Another process uses the data folder.
    Locked,
    /// The file was written by a later version of Orderwire.
    Later,
    /// The file is damaged or is something else, or a fault of the program
    /// ended its writer: nothing is written to it.
    Damaged,
    /// The file cannot be used now (disk full, no permission, I/O error): the
    /// same call may succeed later.
    Unavailable,
}

/// An error of the embedded engine.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Which kind it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What SQLite said about a file while it did `what`.
    pub(crate) fn sqlite(file: &Path, what: &str, error: &rusqlite::Error) -> Self {
        let file = file.display();
        if is_damage(error) {
            Self::new(ErrorKind::Damaged, format!("{file} is damaged ({what}: {error}); {REMEDY}"))
        } else {
            Self::new(ErrorKind::Unavailable, format!("{what} failed on {file}: {error}"))
        }
    }

    /// What the operating system said about a file while it did `what`.
    pub(crate) fn io(file: &Path, what: &str, error: &std::io::Error) -> Self {
        Self::new(ErrorKind::Unavailable, format!("{what} failed on {}: {error}", file.display()))
    }

    /// The thread that writes the file has ended, which only a defect brings
    /// about: nothing more is written until the process starts again.
    pub(crate) fn writer_ended(what: &str, file: &Path) -> Self {
        let message = format!(
            "{what}: the thread that writes {} has ended by a fault of the program (its log says why); \
             nothing more is written: restart",
            file.display()
        );
        Self::new(ErrorKind::Damaged, message)
    }

    /// Damage that Orderwire itself saw, as a sentence fragment.
    pub(crate) fn damaged(file: &Path, what: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::Damaged, format!("{} is damaged ({what}); {REMEDY}", file.display()))
    }
}

const REMEDY: &str = "stop, keep a copy of the data folder, and put both files back from the same backup of the folder \
     (queue.db and store.db, without the -wal and -shm files beside them)";

/// Whether the file cannot be trusted any more. Values that do not have the
/// type that the schema promises count: nobody but us writes there.
fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _)
        | rusqlite::Error::SqlInputError { error: failure, .. } => {
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        }
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => true,
        _ => false,
    }
}
