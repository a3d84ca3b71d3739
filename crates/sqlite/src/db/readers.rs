//! Reads, each bounded in time.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::{OwnedRwLockReadGuard, OwnedSemaphorePermit, Semaphore};

use super::{Log, Setup, open_reader};
use crate::error::{Error, ErrorKind};

/// A few read-only connections. Every read is bounded in time.
#[derive(Debug)]
pub(crate) struct Readers {
    file: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    timeout: Duration,
    log: Arc<Log>,
    /// Whether the log is never emptied while one of these reads runs.
    gated: bool,
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
            log: setup.log.clone(),
            gated: true,
        })
    }

    /// For reads of a few rows each: they do not wait while long reads come to
    /// their end, because emptying the log can wait for them.
    pub(crate) fn short(self) -> Self {
        Self { gated: false, ..self }
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
        let turn = async {
            let permit = self.permits.clone().acquire_owned().await?;
            let pass = if self.gated { Some(self.log.enter().await) } else { None };
            Ok((permit, pass))
        };
        let (permit, pass) = match tokio::time::timeout_at(end, turn).await {
            Ok(turn) => turn.map_err(|_: tokio::sync::AcquireError| self.late(what))?,
            Err(_) => return Ok(None),
        };
        let connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = connection.expect("as many permits as connections");
        let leash = Arc::new(Leash::new(connection.get_interrupt_handle()));
        self.log.note(&leash);
        let lent = Lent {
            connection: Some(connection),
            leash: leash.clone(),
            idle: self.idle.clone(),
            _pass: pass,
            _permit: permit,
        };
        let task = tokio::task::spawn_blocking(move || {
            let connection = lent.connection.as_ref().expect("lent until the end");
            let transaction = connection.unchecked_transaction()?;
            read(&transaction)
        });
        let joined = Running { task: Some(task), leash: leash.clone() }.join(end).await;
        match joined {
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(error)) => match error.sqlite_error_code() {
                Some(rusqlite::ErrorCode::OperationInterrupted) if leash.was_cut() => Err(self.cut(what)),
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

    fn cut(&self, what: &str) -> Error {
        let file = self.file.display();
        let message = format!("{what} was ended, because it kept the write-ahead log of {file} growing");
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
pub(super) struct Leash {
    interrupt: InterruptHandle,
    /// Whether the connection is still with the read.
    held: Mutex<bool>,
    /// Whether it was ended for the log's sake.
    cut: AtomicBool,
}

impl std::fmt::Debug for Leash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leash").field("held", &self.held).finish_non_exhaustive()
    }
}

impl Leash {
    fn new(interrupt: InterruptHandle) -> Self {
        Self { interrupt, held: Mutex::new(true), cut: AtomicBool::new(false) }
    }

    /// Ends the read for the log's sake.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.pull();
    }

    fn was_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

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
    /// The log is not emptied meanwhile.
    _pass: Option<OwnedRwLockReadGuard<()>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.leash.let_go();
        let Some(connection) = self.connection.take() else { return };
        // An interrupt may have hit the end of the transaction itself; whoever borrows
        // the connection next would find it in the middle of one. From here on nobody
        // interrupts.
        if !connection.is_autocommit()
            && let Err(error) = connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a read of the file could not be ended");
        }
        let idle = &mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{LOG_BYTES, open_writer};
    use crate::migrate::Schema;

    static SCHEMA: Schema = Schema { application_id: 7, migrations: &["CREATE TABLE t (x TEXT) STRICT;"] };

    #[tokio::test]
    async fn a_read_is_bounded_in_time() {
        let root = tempfile::tempdir().unwrap();
        let setup = Setup {
            file: root.path().join("a.db"),
            schema: &SCHEMA,
            page_size: 4096,
            cache_kib: 800,
            page_count_max: None,
            log: Log::of(&root.path().join("a.db"), LOG_BYTES),
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

    #[tokio::test]
    async fn a_transaction_whose_end_was_interrupted_is_ended_before_the_next_read() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("BEGIN").unwrap();
        let idle = Arc::new(Mutex::new(Vec::new()));
        let permits = Arc::new(Semaphore::new(1));
        drop(Lent {
            leash: Arc::new(Leash::new(connection.get_interrupt_handle())),
            connection: Some(connection),
            idle: idle.clone(),
            _pass: None,
            _permit: permits.acquire_owned().await.unwrap(),
        });
        assert!(idle.lock().unwrap()[0].is_autocommit());
    }

    #[tokio::test]
    async fn only_short_reads_go_on_while_the_log_is_emptied() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a.db");
        let log = Log::of(&file, LOG_BYTES);
        let setup =
            Setup { file, schema: &SCHEMA, page_size: 4096, cache_kib: 800, page_count_max: None, log };
        let _writer = open_writer(&setup).unwrap();
        let open = |timeout| Readers::open(&setup, 1, timeout).unwrap();
        let one = |db: &Connection| db.query_row("SELECT 1", [], |row| row.get::<_, i64>(0));
        let (long, short) = (open(Duration::from_millis(20)), open(Duration::from_secs(60)).short());
        let alone = setup.log.alone().await;
        assert_eq!(short.read("asking", one).await.unwrap(), 1);
        assert_eq!(long.read("asking", one).await.unwrap_err().kind(), ErrorKind::Unavailable);
        drop(alone);
        let long = open(Duration::from_secs(60));
        assert_eq!(long.read("asking", one).await.unwrap(), 1);
    }
}
