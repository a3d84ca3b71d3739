//! Keeps the write-ahead log short.
//!
//! SQLite copies the log into the file as it goes, but begins it anew only at
//! a moment when no read uses it. Reads that overlap without end leave no such
//! moment, and the log would grow until the disk is full. So beyond a limit
//! new reads wait, those that run come to their end while writes go on, and
//! then the log is emptied. Reads that take too long for that are waited for
//! again later, and ended when the log has reached several times the limit.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rusqlite::Connection;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, mpsc};
use tokio::time::Instant;

use super::BUSY;
use super::readers::Leash;

/// The length at which the log is emptied, in bytes, unless something else is
/// asked for.
pub(crate) const LOG_BYTES: u64 = 64 << 20;

/// At how many times the limit reads are ended.
const CUT_AT: u64 = 4;

/// How long new reads wait for those that run, beyond the limit. Shorter than
/// the time limit of any read, which runs meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a read that was ended gets at last to give its connection back.
const LEAVING: Duration = Duration::from_millis(100);

/// How long those that are ended may take to end.
const ENDING: Duration = Duration::from_secs(1);

/// How often a read is interrupted until it has ended.
const PULL: Duration = Duration::from_millis(20);

/// How long emptying waits for short reads and for other programs.
const OTHERS: Duration = Duration::from_millis(250);

/// The write-ahead log of one file, known to its writer and all its readers.
#[derive(Debug)]
pub(crate) struct Log {
    file: PathBuf,
    limit: u64,
    /// Reads share it. Who wants it alone holds up the reads that come later.
    gate: Arc<RwLock<()>>,
    running: Mutex<Vec<Weak<Leash>>>,
}

impl Log {
    /// The log of this database, to be kept below about `limit` bytes.
    pub(crate) fn of(file: &Path, limit: u64) -> Arc<Self> {
        let mut log = file.as_os_str().to_owned();
        log.push("-wal");
        Arc::new(Self { file: log.into(), limit, gate: Arc::default(), running: Mutex::default() })
    }

    /// Waits until reads may begin; the log is not emptied while the pass is
    /// held.
    pub(super) async fn enter(&self) -> OwnedRwLockReadGuard<()> {
        self.gate.clone().read_owned().await
    }

    /// Waits until no pass is held; no other is given meanwhile.
    pub(super) fn alone(&self) -> impl Future<Output = Alone> + use<> {
        self.gate.clone().write_owned()
    }

    /// Lets a read be ended for the log's sake.
    pub(super) fn note(&self, leash: &Arc<Leash>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|leash| leash.strong_count() > 0);
        running.push(Arc::downgrade(leash));
    }

    fn cut_reads(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().filter_map(Weak::upgrade).for_each(|leash| leash.cut());
    }

    /// The size at which reads are ended.
    fn cut_at(&self) -> u64 {
        self.limit.saturating_mul(CUT_AT)
    }

    fn size(&self) -> u64 {
        std::fs::metadata(&self.file).map_or(0, |metadata| metadata.len())
    }
}

/// The writer thread's part.
pub(super) struct Keeper {
    log: Arc<Log>,
    /// The size at which emptying is tried.
    next: u64,
    /// While new reads wait.
    waiting: Option<Waiting>,
}

struct Waiting {
    runtime: Runtime,
    alone: Pin<Box<dyn Future<Output = Alone>>>,
    until: Instant,
    /// Whether the reads that run are ended.
    cuts: bool,
}

type Alone = OwnedRwLockWriteGuard<()>;

enum Event<J> {
    Job(Option<J>),
    Alone(Alone),
    Time,
}

impl Keeper {
    pub(super) fn new(log: Arc<Log>) -> Self {
        Self { next: log.limit, log, waiting: None }
    }

    /// The next job, `None` when there will be none. Between jobs the log is
    /// emptied where that is due.
    pub(super) fn next<J>(&mut self, receiver: &mut mpsc::Receiver<J>, connection: &Connection) -> Option<J> {
        loop {
            let Some(mut waiting) = self.waiting.take().or_else(|| self.begin()) else {
                return receiver.blocking_recv();
            };
            self.cut_where_due(&mut waiting);
            // A timer alone would not run out while there is always a job.
            if Instant::now() >= waiting.until {
                // The reads may have ended while a job was done.
                match waiting.alone_now() {
                    Some(alone) => self.empty(connection, alone),
                    None => self.late(&waiting),
                }
                continue;
            }
            match waiting.event(receiver) {
                Event::Alone(alone) => self.empty(connection, alone),
                Event::Job(job) => {
                    self.waiting = Some(waiting);
                    return job;
                }
                Event::Time => self.waiting = Some(waiting),
            }
        }
    }

    /// Holds up new reads when the log is too long.
    fn begin(&mut self) -> Option<Waiting> {
        let size = self.log.size();
        if size <= self.log.limit {
            self.done();
        }
        if size <= self.next {
            return None;
        }
        let runtime = match Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, file = %self.log.file.display(), "the write-ahead log is not emptied");
                self.try_later();
                return None;
            }
        };
        let alone = Box::pin(self.log.alone());
        Some(Waiting { runtime, alone, until: Instant::now() + PATIENCE, cuts: false })
    }

    /// Ends the reads that run when the log is far too long. Again and again,
    /// because an interrupt only ends the statement that runs at this moment.
    fn cut_where_due(&self, waiting: &mut Waiting) {
        if !waiting.cuts {
            let size = self.log.size();
            if size <= self.log.cut_at() {
                return;
            }
            waiting.cuts = true;
            waiting.until = Instant::now() + ENDING;
            let file = self.log.file.display();
            tracing::warn!(%file, size_bytes = size, "long reads are ended, so that the write-ahead log can be emptied");
        }
        self.log.cut_reads();
    }

    /// Reads run for longer than new ones should wait.
    fn late(&mut self, waiting: &Waiting) {
        let (file, size) = (self.log.file.display(), self.log.size());
        if waiting.cuts {
            tracing::error!(%file, size_bytes = size, "a read does not end and keeps the write-ahead log");
        } else {
            tracing::info!(%file, size_bytes = size, "long reads keep the write-ahead log: it is emptied later");
        }
        self.try_later();
    }

    /// No long read of this process is at work.
    fn empty(&mut self, connection: &Connection, _alone: Alone) {
        let emptied = connection.busy_timeout(OTHERS).and_then(|()| {
            let busy =
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
            connection.busy_timeout(BUSY).and(busy)
        });
        let file = self.log.file.display();
        match emptied {
            Ok(0) => self.done(),
            Ok(_) => {
                tracing::warn!(%file, "a read, perhaps of another program, keeps the write-ahead log: it is emptied later");
                self.try_later();
            }
            Err(error) => {
                tracing::error!(%error, %file, "the write-ahead log could not be emptied");
                self.try_later();
            }
        }
    }

    fn done(&mut self) {
        self.next = self.log.limit;
    }

    /// When the log has grown by its limit once more, or must be cut.
    fn try_later(&mut self) {
        let (size, cut_at) = (self.log.size(), self.log.cut_at());
        let next = size.saturating_add(self.log.limit);
        self.next = if size < cut_at { next.min(cut_at) } else { next };
    }
}

impl Waiting {
    /// The gate, if no long read is at work at this moment; after a cut those
    /// that were ended get a moment to leave.
    fn alone_now(&mut self) -> Option<Alone> {
        let Self { runtime, alone, cuts, .. } = self;
        let moment = if *cuts { LEAVING } else { Duration::ZERO };
        runtime.block_on(async { tokio::time::timeout(moment, alone).await.ok() })
    }

    fn event<J>(&mut self, receiver: &mut mpsc::Receiver<J>) -> Event<J> {
        let Self { runtime, alone, until, cuts } = self;
        let until = if *cuts { Instant::now() + PULL } else { *until };
        runtime.block_on(async {
            tokio::select! {
                biased;
                alone = alone => Event::Alone(alone),
                job = receiver.recv() => Event::Job(job),
                () = tokio::time::sleep_until(until) => Event::Time,
            }
        })
    }
}
