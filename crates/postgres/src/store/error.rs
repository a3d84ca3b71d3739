//! Errors of the server and of the way to it, in the words of the store's contract.

use orderwire_store::{Error, ErrorKind};
use tokio_postgres::error::SqlState;

use crate::error as engine;

/// Why a call was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The call is refused; the server is well.
    Refused(Error),
    /// The server said so, or the way to it.
    Engine(tokio_postgres::Error),
    /// The server said nothing in time.
    Slow,
    /// A definition that it was made from is not the present one.
    Stale,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Engine(error)
    }
}

impl Failure {
    /// The error of a call that did `what`.
    pub(super) fn into_error(self, what: &str) -> Error {
        match self {
            Self::Refused(error) => error,
            Self::Engine(error) if is_of_an_index(&error) => {
                let error = engine::Error::postgres(what, &error);
                invalid(format!(
                    "{error}: PostgreSQL makes no index of texts that are so long; shorten those of the key, or keep \
                     what is long in a column that is not of the key"
                ))
            }
            // Somebody gave it to us: nothing of ours is broken.
            Self::Engine(error) if error.code().is_some_and(is_of_data) => {
                invalid(engine::Error::postgres(what, &error).to_string())
            }
            Self::Engine(error) => from_engine(&engine::Error::postgres(what, &error)),
            Self::Slow => from_engine(&engine::Error::slow(what)),
            Self::Stale => {
                let message = format!("{what}: the definition of a dataset changes all the time");
                Error::new(ErrorKind::Unavailable, message)
            }
        }
    }

    /// The server's code.
    pub(super) fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Engine(error) => error.code(),
            Self::Refused(_) | Self::Slow | Self::Stale => None,
        }
    }

    /// Whether the connection ended, or the server ends it.
    pub(super) fn is_cut(&self) -> bool {
        match self {
            Self::Engine(error) => {
                error.is_closed()
                    || match error.code() {
                        Some(code) => is_of(code, &["08", "57P"]),
                        // The library has no other way to say that the socket broke.
                        None => error.to_string().starts_with("error communicating"),
                    }
            }
            Self::Refused(_) | Self::Slow | Self::Stale => false,
        }
    }

    /// Whether the same transaction may succeed at once: others were in its way.
    pub(super) fn is_in_the_way(&self) -> bool {
        self.code().is_some_and(|code| is_of(code, &["40001", "40P01"]))
    }

    /// Whether a lock was not to be had in time.
    pub(super) fn is_of_a_lock(&self) -> bool {
        self.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
    }

    /// Whether a statement did not fit its tables, as after a dataset was made anew
    /// elsewhere: whoever looks at its definition again may have more luck.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self, Self::Stale) || self.code().is_some_and(|code| is_of(code, &["42", "0A000"]))
    }

    /// Whether a row found no partition: it was dropped after it was looked for.
    pub(super) fn lacks_a_partition(&self) -> bool {
        self.code() == Some(&SqlState::CHECK_VIOLATION)
    }

    /// Whether a value is one that PostgreSQL cannot keep here.
    pub(super) fn is_of_data(&self) -> bool {
        self.code().is_some_and(is_of_data)
    }
}

/// Whether a value is too long for an index. The place that says so is the same in every language.
fn is_of_an_index(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().and_then(|error| error.routine()) == Some("_bt_check_third_page")
}

fn is_of_data(code: &SqlState) -> bool {
    is_of(code, &["22", "54"])
}

fn is_of(code: &SqlState, classes: &[&str]) -> bool {
    classes.iter().any(|class| code.code().starts_with(class))
}

/// An error of the plumbing, as the store's error.
pub(super) fn from_engine(error: &engine::Error) -> Error {
    let kind = match error.kind() {
        engine::ErrorKind::Damaged => ErrorKind::Damaged,
        engine::ErrorKind::Refused
        | engine::ErrorKind::Later
        | engine::ErrorKind::Unavailable
        | engine::ErrorKind::Unconfirmed => ErrorKind::Unavailable,
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

/// A value in the database that only damage can have put there.
pub(super) fn damaged(what: &str) -> Error {
    from_engine(&engine::Error::damaged(format_args!("the stored {what} is none")))
}
