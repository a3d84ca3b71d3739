//! Connections, and the threads that use them.
//!
//! A file has one [`Writer`] thread, which owns the only connection that
//! writes, a few [`Readers`], and a [`Log`] that both keep short. All are async
//! at their edge; SQLite itself never runs on a runtime thread.

mod log;
mod readers;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

pub(crate) use self::log::{LOG_BYTES, Log};
pub(crate) use self::readers::Readers;
pub(crate) use self::writer::{Work, Writer};
use crate::decimal;
use crate::error::Error;
use crate::lock::{close_to_others, private, sync_folder};
use crate::migrate::{Schema, migrate};

/// How a file is opened.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Which file.
    pub(crate) file: PathBuf,
    /// What it holds.
    pub(crate) schema: &'static Schema,
    /// Page size of a new file, in bytes.
    pub(crate) page_size: u32,
    /// Page cache of the writer, in KiB. Readers get an eighth each.
    pub(crate) cache_kib: u32,
    /// The file's size limit in pages; `None` is the disk.
    pub(crate) page_count_max: Option<u32>,
    /// Its write-ahead log.
    pub(crate) log: Arc<Log>,
}

/// How long a connection waits for a lock that another holds.
const BUSY: Duration = Duration::from_secs(5);

/// The log is copied into the file whenever it holds this many bytes: large
/// enough that hot pages are copied once for many commits, small enough that
/// recovery after a crash is short.
const CHECKPOINT_BYTES: u32 = 8 << 20;

/// What the log may keep on the disk after it was copied.
const JOURNAL_BYTES: u32 = 32 << 20;

/// A file up to this size is checked whole when it is opened: 6 ms a mebibyte, which a start has to
/// wait for.
pub(crate) const CHECKED_BYTES: u64 = 4 << 20;

/// Opens the one connection that writes, after bringing the file to the
/// present version and, up to [`CHECKED_BYTES`], checking it.
pub(crate) fn open_writer(setup: &Setup) -> Result<Connection, Error> {
    open_writer_checking(setup, CHECKED_BYTES)
}

/// The same, checking a file of up to `checked_bytes`.
pub(crate) fn open_writer_checking(setup: &Setup, checked_bytes: u64) -> Result<Connection, Error> {
    let file = setup.file.as_path();
    close_files(file).map_err(|error| Error::io(file, "opening", &error))?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = connect(setup, flags, setup.cache_kib)?;
    writer_pragmas(&connection, setup).map_err(|error| Error::sqlite(file, "opening", &error))?;
    migrate(&mut connection, file, setup.schema)?;
    quick_check(&connection, file, checked_bytes)?;
    // A new file survives a power failure only with its name.
    sync_folder(file.parent().unwrap_or(Path::new("")))
        .map_err(|error| Error::io(file, "opening", &error))?;
    Ok(connection)
}

/// Makes the file, and what a crash left beside it, its owner's alone. SQLite gives
/// the files that it makes beside it the mode of the file itself.
fn close_files(file: &Path) -> std::io::Result<()> {
    private(file)?;
    ["-wal", "-shm", "-journal"].into_iter().try_for_each(|end| {
        let mut beside = file.as_os_str().to_owned();
        beside.push(end);
        close_to_others(Path::new(&beside))
    })
}

fn open_reader(setup: &Setup) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    connect(setup, flags, setup.cache_kib / 8)
}

fn connect(setup: &Setup, flags: OpenFlags, cache_kib: u32) -> Result<Connection, Error> {
    let file = setup.file.as_path();
    let sqlite = |error| Error::sqlite(file, "opening", &error);
    let connection = Connection::open_with_flags(file, flags).map_err(sqlite)?;
    common_pragmas(&connection, cache_kib).map_err(sqlite)?;
    decimal::register(&connection).map_err(sqlite)?;
    Ok(connection)
}

/// Set on every connection. None of them is kept in the file.
fn common_pragmas(connection: &Connection, cache_kib: u32) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // Mapped memory would turn an I/O error into a signal.
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -i64::from(cache_kib))
}

fn writer_pragmas(connection: &Connection, setup: &Setup) -> rusqlite::Result<()> {
    // Both only take effect in an empty file. Free pages are used again.
    connection.pragma_update(None, "page_size", setup.page_size)?;
    connection.pragma_update(None, "auto_vacuum", "NONE")?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        // For example on a file system without shared memory.
        return Err(rusqlite::Error::InvalidParameterName(format!("journal_mode={mode}")));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_BYTES / setup.page_size)?;
    connection.pragma_update(None, "journal_size_limit", JOURNAL_BYTES)?;
    if let Some(pages) = setup.page_count_max {
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    Ok(())
}

/// Looks through a small file, so that damage is found before work begins.
fn quick_check(connection: &Connection, file: &Path, checked_bytes: u64) -> Result<(), Error> {
    let size = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    if size > checked_bytes {
        return Ok(());
    }
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| Error::sqlite(file, "checking", &error))?;
    if found == "ok" { Ok(()) } else { Err(Error::damaged(file, found)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SCHEMA: Schema = Schema { application_id: 7, migrations: &["CREATE TABLE t (x TEXT) STRICT;"] };

    /// A kill does not show the absence of a synchronisation; this does.
    #[test]
    fn connections_have_the_settings_that_durability_rests_on() {
        let root = tempfile::tempdir().unwrap();
        let setup = Setup {
            file: root.path().join("a.db"),
            schema: &SCHEMA,
            page_size: 8192,
            cache_kib: 800,
            page_count_max: Some(77),
            log: Log::of(&root.path().join("a.db"), LOG_BYTES),
        };
        let writer = open_writer(&setup).unwrap();
        let number = |connection: &Connection, pragma: &str| {
            connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).unwrap()
        };
        let set =
            ["synchronous", "page_size", "auto_vacuum", "cache_size", "max_page_count", "application_id"];
        let expected = [2, 8192, 0, -800, 77, 7];
        assert_eq!(set.map(|pragma| number(&writer, pragma)), expected);
        let mode: String = writer.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        let reader = open_reader(&setup).unwrap();
        assert_eq!(number(&reader, "cell_size_check"), 1);
        assert!(reader.execute("INSERT INTO t VALUES ('x')", []).is_err(), "readers only read");
    }
}
