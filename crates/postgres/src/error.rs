//! What can go wrong with the database.

use std::error::Error as _;

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::error::SqlState;

/// The kinds of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The settings, the server or the rights are not such that it could ever work: a
    /// person has to change something.
    Refused,
    /// The schema was written by a later version of Orderwire.
    Later,
    /// What is stored contradicts itself or is something else.
    Damaged,
    /// The server cannot be used now (away, restarting, full, too slow): nothing was
    /// changed; the same call may succeed later.
    Unavailable,
    /// The connection was lost while a transaction ended, and the server did not say in
    /// time what became of it.
    Unconfirmed,
}

/// An error of the engine on PostgreSQL.
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

    /// What the server, or the way to it, said while it did `what`.
    pub(crate) fn postgres(what: &str, error: &tokio_postgres::Error) -> Self {
        let kind = kind_of(error);
        let text = text_of(error);
        let remedy = error.code().map_or_else(|| remedy_before(&text), remedy).unwrap_or_default();
        Self::new(kind, format!("{what}: {text}{remedy}"))
    }

    /// What the pool said while it did `what`.
    pub(crate) fn pool(what: &str, error: &PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::postgres(what, error),
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => Self::new(
                ErrorKind::Unavailable,
                format!("{what}: nobody answers in time; look at host, port and firewalls in between"),
            ),
            PoolError::Timeout(TimeoutType::Wait) => Self::new(
                ErrorKind::Unavailable,
                format!("{what}: no connection to the database became free in time"),
            ),
            other => Self::new(ErrorKind::Unavailable, format!("{what}: {other}")),
        }
    }

    /// The server did not answer in time.
    pub(crate) fn slow(what: &str) -> Self {
        Self::new(ErrorKind::Unavailable, format!("{what}: the database did not answer in time"))
    }

    /// Damage that Orderwire itself saw, as a sentence fragment.
    pub(crate) fn damaged(what: impl std::fmt::Display) -> Self {
        Self::new(
            ErrorKind::Damaged,
            format!(
                "the database contradicts itself ({what}): nobody but Orderwire may write to its schemas; restore a backup"
            ),
        )
    }
}

/// The server's own words, without the noise of the layers in between.
fn text_of(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        let detail = error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("{}{detail} [{}]", error.message(), error.code().code());
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// What to do where no server said anything with a code.
fn remedy_before(text: &str) -> Option<&'static str> {
    let remedies = [
        (NO_PASSWORD, "; the server wants one: give it beside the URL (store.password)"),
        ("error connecting to server", "; start the server, or look at host and port in the URL"),
        ("TLS", "; look at sslmode in the URL, and at the certificates that are trusted and shown"),
    ];
    remedies.into_iter().find(|(of, _)| text.contains(of)).map(|(_, remedy)| remedy)
}

/// The library's words for a server that wants a password where there is none.
const NO_PASSWORD: &str = "password missing";

/// What to do about what a person has to mend.
fn remedy(code: &SqlState) -> Option<&'static str> {
    let remedies = [
        (SqlState::INVALID_PASSWORD, "; look at the user in the URL and at the password"),
        (
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            "; look at the user in the URL and at the server's pg_hba.conf",
        ),
        (
            SqlState::INVALID_CATALOG_NAME,
            "; create it (CREATE DATABASE, encoding UTF8), or name another in the URL",
        ),
        (SqlState::INSUFFICIENT_PRIVILEGE, "; the user must own the database or may create schemas in it"),
        (
            SqlState::READ_ONLY_SQL_TRANSACTION,
            "; name the primary, or add target_session_attrs=read-write to the URL",
        ),
        (SqlState::DISK_FULL, "; free space on the server"),
        (SqlState::TOO_MANY_CONNECTIONS, "; allow more on the server (max_connections) or fewer per process"),
    ];
    remedies.into_iter().find(|(of, _)| of == code).map(|(_, remedy)| remedy)
}

fn kind_of(error: &tokio_postgres::Error) -> ErrorKind {
    let Some(code) = error.code() else {
        // What the server sent is not of the type that our schema promises.
        let conversion = error.to_string().starts_with("error deserializing");
        return match () {
            () if conversion => ErrorKind::Damaged,
            () if text_of(error).contains(NO_PASSWORD) => ErrorKind::Refused,
            () => ErrorKind::Unavailable,
        };
    };
    if [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(code) {
        return ErrorKind::Damaged;
    }
    match code.code().get(..2) {
        // Connections, transactions that others undid, resources, states of objects, the
        // operator, the system below the server; a standby's refusal to write.
        Some("08" | "25" | "40" | "53" | "55" | "57" | "58" | "XX") => ErrorKind::Unavailable,
        Some("0A" | "28" | "3D") => ErrorKind::Refused,
        _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => ErrorKind::Refused,
        // Data and constraints, and tables that are not there: nobody but us writes there.
        _ => ErrorKind::Damaged,
    }
}
