//! Versioned schemas: which file it is, how far it is, and how to bring it on.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::error::{Error, ErrorKind};

/// The schema of one file: its mark in the header, and every step from an
/// empty file to the present. Steps are only ever added at the end.
#[derive(Debug)]
pub(crate) struct Schema {
    /// SQLite's `application_id`: tells our files apart and from others'.
    pub(crate) application_id: i32,
    /// The scripts of `migrations/`, in order; the file's `user_version` is the
    /// number of those that were applied.
    pub(crate) migrations: &'static [&'static str],
}

/// Brings the file to the present version in one transaction.
pub(crate) fn migrate(connection: &mut Connection, file: &Path, schema: &Schema) -> Result<(), Error> {
    let sqlite = |what: &'static str| move |error| Error::sqlite(file, what, &error);
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite("opening"))?;
    let number = |pragma: &str| {
        transaction
            .pragma_query_value(None, pragma, |row| row.get::<_, i64>(0))
            .map_err(sqlite("reading its header"))
    };
    let version = number("user_version")?;
    let application_id = number("application_id")?;
    let empty = number("schema_version")? == 0;
    if !empty && application_id != i64::from(schema.application_id) {
        return Err(Error::damaged(file, "it is a database, but not the one that belongs there"));
    }
    let present = i64::try_from(schema.migrations.len()).expect("a handful of migrations");
    if version > present {
        let message = format!(
            "{} was written by a later version of Orderwire (its schema is {version}, this program knows \
             {present}): use that version, or restore a backup from before the upgrade",
            file.display()
        );
        return Err(Error::new(ErrorKind::Later, message));
    }
    let applied = usize::try_from(version)
        .map_err(|_| Error::damaged(file, format!("its schema version is {version}")))?;
    if applied == schema.migrations.len() {
        return Ok(());
    }
    for script in &schema.migrations[applied..] {
        transaction.execute_batch(script).map_err(sqlite("migrating"))?;
    }
    transaction.pragma_update(None, "application_id", schema.application_id).map_err(sqlite("migrating"))?;
    transaction.pragma_update(None, "user_version", present).map_err(sqlite("migrating"))?;
    transaction.commit().map_err(sqlite("migrating"))
}
