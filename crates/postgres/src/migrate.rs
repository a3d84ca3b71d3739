//! Schemas with versions: how far a module's tables are, and how to bring them on.
//!
//! Every module has a PostgreSQL schema of its own name and steps of its own, the scripts of
//! `migrations/MODULE/`. `orderwire.migration` holds a row for each that ran, with the
//! checksum of its text. Whoever opens the database brings it on, in one transaction under an
//! advisory lock: of several processes that start at once one does, and the others find
//! it done.
//!
//! ## Rules
//! - A released step is never edited: its checksum is looked at, and another text refused.
//! - **Expand, then contract.** Processes of the version before run on while the first one of
//!   this version starts. A step may add a table, a column that may be null or has a constant
//!   default, an index on a small table; it may not drop, rename or narrow what the version
//!   before reads or writes. That is for a later release, when no process uses it any more.
//! - A step rewrites no large table and holds no lock on one for long: what there is to fill
//!   in, fill in pieces while it runs.
//! - A schema that is newer than the program is refused.

use sha2::{Digest as _, Sha256};
use tokio_postgres::Transaction;

use crate::db::Database;
use crate::error::{Error, ErrorKind};

/// The schema of a module: every step from nothing to the present. Steps are only ever
/// added at the end.
#[derive(Debug)]
pub(crate) struct Schema {
    /// The module, and the name of its PostgreSQL schema.
    pub(crate) module: &'static str,
    /// The scripts, in order. Each names what it makes with its schema.
    pub(crate) steps: &'static [&'static str],
}

/// The key of the advisory lock, "owmi".
const LOCK: i64 = 0x6f77_6d69;

/// Brings a module's tables to the present version.
///
/// # Errors
/// `Later` for tables of a later version; `Refused` when the schema is somebody else's, or
/// our rights do not suffice; `Damaged` when a step that ran was another; else as the server says.
pub(crate) async fn migrate(database: &Database, schema: &Schema) -> Result<(), Error> {
    let what = format!("migrating the schema {}", schema.module);
    let mut client = database.client(&what).await?;
    let migrating = async {
        let transaction = client.transaction().await.map_err(|error| Error::postgres(&what, &error))?;
        // Another process may be at it, and a step may take longer than a call.
        let patience = "SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = '10min'";
        let lock = format!("{patience}; SELECT pg_advisory_xact_lock({LOCK})");
        transaction.batch_execute(&lock).await.map_err(|error| Error::postgres(&what, &error))?;
        bring_on(&transaction, schema, &what).await?;
        transaction.commit().await.map_err(|error| Error::postgres(&what, &error))
    };
    let limit = std::time::Duration::from_secs(11 * 60);
    tokio::time::timeout(limit, migrating).await.unwrap_or_else(|_| Err(Error::slow(&what)))
}

async fn bring_on(transaction: &Transaction<'_>, schema: &Schema, what: &str) -> Result<(), Error> {
    let postgres = |error: tokio_postgres::Error| Error::postgres(what, &error);
    transaction.batch_execute(TABLE).await.map_err(postgres)?;
    let ran = "SELECT checksum FROM orderwire.migration WHERE module = $1 ORDER BY number";
    let ran = transaction.query(ran, &[&schema.module]).await.map_err(postgres)?;
    if ran.len() > schema.steps.len() {
        let message = format!(
            "the schema {} was written by a later version of Orderwire (it is at {}, this program knows {}): use \
             that version, or restore a backup from before the upgrade",
            schema.module,
            ran.len(),
            schema.steps.len()
        );
        return Err(Error::new(ErrorKind::Later, message));
    }
    for (index, (row, step)) in ran.iter().zip(schema.steps).enumerate() {
        if row.get::<_, &[u8]>(0) != checksum(step) {
            let number = index + 1;
            return Err(Error::damaged(format!(
                "step {number} of the schema {} was another one",
                schema.module
            )));
        }
    }
    if ran.is_empty() {
        let theirs = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
        if transaction.query_opt(theirs, &[&schema.module]).await.map_err(postgres)?.is_some() {
            let message = format!(
                "the database has a schema {} that is not Orderwire's: give Orderwire a database of its own",
                schema.module
            );
            return Err(Error::new(ErrorKind::Refused, message));
        }
        let create = format!("CREATE SCHEMA {}", schema.module);
        transaction.batch_execute(&create).await.map_err(postgres)?;
    }
    for (index, step) in schema.steps.iter().enumerate().skip(ran.len()) {
        transaction.batch_execute(step).await.map_err(postgres)?;
        let note = "INSERT INTO orderwire.migration (module, number, checksum) VALUES ($1, $2, $3)";
        let number = i32::try_from(index + 1).expect("a handful of steps");
        transaction
            .execute(note, &[&schema.module, &number, &checksum(step).as_slice()])
            .await
            .map_err(postgres)?;
    }
    Ok(())
}

const TABLE: &str = "
    CREATE SCHEMA IF NOT EXISTS orderwire;
    CREATE TABLE IF NOT EXISTS orderwire.migration (
        module     text        NOT NULL,
        number     integer     NOT NULL,
        checksum   bytea       NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (module, number)
    )";

fn checksum(step: &str) -> [u8; 32] {
    Sha256::digest(step.as_bytes()).into()
}
