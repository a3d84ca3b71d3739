//! Connections, and the threads that use them.
//!
//! A file has one [`Writer`] thread, which owns the only connection that
//! writes, and a few [`Readers`]. Both are async at their edge; SQLite itself
//! never runs on a runtime thread.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, InterruptHandle, OpenFlags};
use tokio::sync::{Semaphore, mpsc};

use crate::error::{Error, ErrorKind};
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
}

/// The log is copied into the file whenever it holds this many bytes: large
/// enough that hot pages are copied once for many commits, small enough that
/// recovery after a crash is short.
const CHECKPOINT_BYTES: u32 = 8 << 20;

/// What the log may keep on the disk after it was copied.
const JOURNAL_BYTES: u32 = 32 << 20;

/// A file up to this size is checked whole when it is opened.
pub(crate) const CHECKED_BYTES: u64 = 32 << 20;

/// Opens the one connection that writes, after bringing the file to the
/// present version and, up to [`CHECKED_BYTES`], checking it.
pub(crate) fn open_writer(setup: &Setup) -> Result<Connection, Error> {
    open_writer_checking(setup, CHECKED_BYTES)
}

/// The same, checking a file of up to `checked_bytes`.
pub(crate) fn open_writer_checking(setup: &Setup, checked_bytes: u64) -> Result<Connection, Error> {
    let file = setup.file.as_path();
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = connect(setup, flags, setup.cache_kib)?;
    writer_pragmas(&connection, setup).map_err(|error| Error::sqlite(file, "opening", &error))?;
    migrate(&mut connection, file, setup.schema)?;
    quick_check(&connection, file, checked_bytes)?;
    Ok(connection)
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
    Ok(connection)
}

/// Set on every connection. None of them is kept in the file.
fn common_pragmas(connection: &Connection, cache_kib: u32) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
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

/// What a writer thread does with what it is sent.
pub(crate) trait Work: Send + 'static {
    /// One caller's request, with the channel on which it waits.
    type Job: Send + 'static;

    /// Does the jobs, in order, and answers each. Called with everything that
    /// was waiting (up to the group's size): one transaction can carry all.
    fn run(&mut self, jobs: Vec<Self::Job>);
}

/// The thread that owns the connection that writes. Dropping it waits until
/// the jobs that were sent are done and the file is closed.
#[derive(Debug)]
pub(crate) struct Writer<J> {
    sender: Option<mpsc::Sender<J>>,
    thread: Option<JoinHandle<()>>,
}

impl<J: Send + 'static> Writer<J> {
    /// Starts the thread; `group` is the most jobs that it takes at once, and
    /// as many may wait.
    pub(crate) fn spawn<W: Work<Job = J>>(name: &str, group: usize, mut work: W) -> Result<Self, Error> {
        let (sender, mut receiver) = mpsc::channel(group);
        let run = move || {
            while let Some(first) = receiver.blocking_recv() {
                let mut jobs = vec![first];
                while jobs.len() < group {
                    let Ok(next) = receiver.try_recv() else { break };
                    jobs.push(next);
                }
                work.run(jobs);
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("starting the thread {name} failed: {error}"))
        })?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Hands over a job; waits while too many are waiting. `false` when the
    /// thread has ended, which only a defect can bring about.
    pub(crate) async fn send(&self, job: J) -> bool {
        match &self.sender {
            Some(sender) => sender.send(job).await.is_ok(),
            None => false,
        }
    }
}

impl<J> Drop for Writer<J> {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a writer thread of the embedded engine panicked");
        }
    }
}

/// A few read-only connections. Every read is bounded in time.
#[derive(Debug)]
pub(crate) struct Readers {
    file: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    timeout: Duration,
}

impl Readers {
    /// Opens `count` connections to a file that its writer has opened before.
    pub(crate) fn open(setup: &Setup, count: usize, timeout: Duration) -> Result<Self, Error> {
        let idle = (0..count).map(|_| open_reader(setup)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            file: setup.file.clone(),
            idle: Arc::new(Mutex::new(idle)),
            permits: Arc::new(Semaphore::new(count)),
            timeout,
        })
    }

    /// Does something to every connection, before the first read.
    pub(crate) fn prepare(
        &self,
        prepare: impl Fn(&Connection) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).iter().try_for_each(prepare)
    }

    /// Runs `read` on a connection, in one transaction so that all its
    /// statements see one state. `what` names the operation in errors.
    ///
    /// # Errors
    /// `Unavailable` when it took too long or failed, `Damaged`.
    pub(crate) async fn read<T, F>(&self, what: &'static str, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.read_within(what, self.timeout, read).await?.ok_or_else(|| self.late(what))
    }

    /// The same with a time limit of its own: `None` when it ran out. Dropping
    /// the call ends the read as well.
    pub(crate) async fn read_within<T, F>(
        &self,
        what: &'static str,
        timeout: Duration,
        read: F,
    ) -> Result<Option<T>, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let now = tokio::time::Instant::now();
        // A limit beyond what the clock can tell is a day.
        let end = now.checked_add(timeout).unwrap_or_else(|| now + Duration::from_secs(86_400));
        let permit = match tokio::time::timeout_at(end, self.permits.clone().acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| self.late(what))?,
            Err(_) => return Ok(None),
        };
        let connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = connection.expect("as many permits as connections");
        let leash = Arc::new(Leash { interrupt: connection.get_interrupt_handle(), held: Mutex::new(true) });
        let lent = Lent {
            connection: Some(connection),
            leash: leash.clone(),
            idle: self.idle.clone(),
            _permit: permit,
        };
        let task = tokio::task::spawn_blocking(move || {
            let connection = lent.connection.as_ref().expect("lent until the end");
            let transaction = connection.unchecked_transaction()?;
            read(&transaction)
        });
        let joined = Running { task: Some(task), leash }.join(end).await;
        match joined {
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(error)) => match error.sqlite_error_code() {
                Some(rusqlite::ErrorCode::OperationInterrupted) => Ok(None),
                _ => Err(Error::sqlite(&self.file, what, &error)),
            },
            Err(error) => Err(Error::new(ErrorKind::Unavailable, format!("{what} ended early: {error}"))),
        }
    }

    fn late(&self, what: &str) -> Error {
        let message = format!("{what} took longer than {:?} on {}", self.timeout, self.file.display());
        Error::new(ErrorKind::Unavailable, message)
    }
}

/// A read on its thread: its caller's end is its end.
struct Running<T: Send + 'static> {
    /// There until it was joined.
    task: Option<Task<T>>,
    leash: Arc<Leash>,
}

type Task<T> = tokio::task::JoinHandle<rusqlite::Result<T>>;

impl<T: Send + 'static> Running<T> {
    async fn join(
        mut self,
        end: tokio::time::Instant,
    ) -> Result<rusqlite::Result<T>, tokio::task::JoinError> {
        let task = self.task.as_mut().expect("not joined yet");
        let joined = match tokio::time::timeout_at(end, &mut *task).await {
            Ok(joined) => joined,
            Err(_) => self.leash.stop(task).await,
        };
        self.task = None;
        joined
    }
}

impl<T: Send + 'static> Drop for Running<T> {
    fn drop(&mut self) {
        let Some(mut task) = self.task.take() else { return };
        self.leash.pull();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let leash = self.leash.clone();
            runtime.spawn(async move { leash.stop(&mut task).await });
        }
    }
}

/// Interrupts one read, and never the next one on the same connection.
struct Leash {
    interrupt: InterruptHandle,
    /// Whether the connection is still with the read.
    held: Mutex<bool>,
}

impl Leash {
    fn pull(&self) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if *held {
            self.interrupt.interrupt();
        }
    }

    fn let_go(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Interrupts until the read has ended: an interrupt only ends the
    /// statement that runs at this moment.
    async fn stop<T>(&self, task: &mut Task<T>) -> Result<rusqlite::Result<T>, tokio::task::JoinError> {
        loop {
            self.pull();
            if let Ok(joined) = tokio::time::timeout(Duration::from_millis(20), &mut *task).await {
                return joined;
            }
        }
    }
}

/// A connection on loan: goes back also when the read panics or its caller has
/// gone.
struct Lent {
    connection: Option<Connection>,
    leash: Arc<Leash>,
    idle: Arc<Mutex<Vec<Connection>>>,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.leash.let_go();
        let idle = &mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.extend(self.connection.take());
    }
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

    #[tokio::test]
    async fn a_read_is_bounded_in_time() {
        let root = tempfile::tempdir().unwrap();
        let setup = Setup {
            file: root.path().join("a.db"),
            schema: &SCHEMA,
            page_size: 4096,
            cache_kib: 800,
            page_count_max: None,
        };
        let _writer = open_writer(&setup).unwrap();
        let readers = Readers::open(&setup, 1, Duration::from_millis(20)).unwrap();
        let endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n";
        let late = readers.read("counting", |db| db.query_row(endless, [], |row| row.get::<_, i64>(0))).await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::Unavailable);
        let next =
            readers.read("asking", |db| db.query_row("SELECT 1", [], |row| row.get::<_, i64>(0))).await;
        assert_eq!(next.unwrap(), 1, "the connection is good again");
    }
}
