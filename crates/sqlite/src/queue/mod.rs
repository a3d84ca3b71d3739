//! The queue on SQLite: the file `queue.db`.
//!
//! [`SqliteQueue`] is the async edge. Commits go to one writer thread
//! ([`writer`]), which puts those that wait into one transaction; reads go to
//! the read-only connections ([`read`]). What a table holds is said in
//! `migrations/queue/`.
//!
//! Invariants:
//! - the writer's memory ([`state`]) equals the committed file whenever no
//!   transaction is open: a failed one makes it load everything again;
//! - a lane has a row exactly while it has deliveries, a client a turn exactly
//!   while it has a lane, an event its payload exactly while it has
//!   unsettled deliveries;
//! - an operation checks before it writes, so that one that is refused needs
//!   no undoing inside the shared transaction.

mod append;
mod claim;
mod dead;
mod ends;
mod lane;
mod letters;
mod oldest;
mod peek;
#[cfg(test)]
mod plans;
mod read;
mod reject;
mod settle;
mod state;
mod steps;
mod stream;
mod sweep;
mod told;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_queue::ErrorKind as Kind;
use orderwire_queue::engine::{Capabilities, Committed, Durability, Engine, Op, Origin};
use orderwire_queue::model::{
    DeadFilter, DeadPage, DeadRefs, Entry, Figures, Position, QueueState, TraceView,
};
use orderwire_types::QueueName;
use orderwire_types::queue::QueueDef;
use orderwire_types::scope::Clients;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::db::{CHECKED_BYTES, LOG_BYTES, Log, Readers, Setup, Writer, open_writer_checking};
use crate::error::{Error, ErrorKind};
use crate::late::LateOptions;
use crate::lock::DataDir;
use crate::migrate::Schema;
use oldest::Oldest;
use writer::{Job, QueueWork};

/// The name of the file within the data folder.
const FILE: &str = "queue.db";

/// Connections for reads that others wait for.
const PROMPT: usize = 2;

static SCHEMA: Schema = Schema {
    application_id: i32::from_be_bytes(*b"OWqu"),
    migrations: &[
        include_str!("../../migrations/queue/0001_queue.sql"),
        include_str!("../../migrations/queue/0002_told.sql"),
        include_str!("../../migrations/queue/0003_late.sql"),
    ],
};

/// How a queue file is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Page cache of the writer, in KiB.
    pub cache_kib: u32,
    /// Read-only connections for looks at what is there. Streams are read, and
    /// queues' states, over connections of their own.
    pub readers: usize,
    /// How long one read may take.
    pub read_timeout: Duration,
    /// Commits that may share one transaction; as many may wait.
    pub group: usize,
    /// The file's limit in pages of 4 KiB; `None` is the disk.
    pub page_count_max: Option<u32>,
    /// A file of up to this size is checked whole when it is opened, in bytes.
    pub check_bytes_max: u64,
    /// The length of the write-ahead log at which it is emptied, in bytes. New
    /// reads wait some seconds for those that run; these are ended when it has
    /// four times that length.
    pub log_bytes_max: u64,
    /// Positions that are given out are above this one. The highest position
    /// that a reader of streams stored elsewhere belongs here: a queue file that
    /// was lost and made anew would begin below it, and what comes in would
    /// be taken for done.
    pub position_min: i64,
    /// How ids and traces reach their indexes.
    pub late: LateOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_kib: 16 << 10,
            readers: 3,
            read_timeout: Duration::from_secs(5),
            group: 1024,
            page_count_max: None,
            check_bytes_max: CHECKED_BYTES,
            log_bytes_max: LOG_BYTES,
            position_min: 0,
            late: LateOptions::default(),
        }
    }
}

impl Options {
    /// Small limits, so that tests reach them.
    pub fn for_testing() -> Self {
        let late = LateOptions { ids: 4, traces: 3, slice: 2, part: 48 };
        Self { cache_kib: 1 << 10, readers: 2, group: 16, late, ..Self::default() }
    }
}

/// The queue's engine on SQLite.
#[derive(Debug)]
pub struct SqliteQueue {
    // Before the writer: the last connection to close tidies up the log.
    readers: Readers,
    /// For reads that others wait for: a slow look never keeps them waiting.
    prompt: Readers,
    oldest: Arc<Oldest>,
    writer: Writer<Job>,
}

impl SqliteQueue {
    /// Opens `queue.db` in the folder, making or migrating it.
    ///
    /// # Errors
    /// `Later` for a file of a later version, `Damaged` for one that is
    /// damaged or no queue, `Unavailable` when it cannot be opened now.
    pub fn open(dir: &DataDir, options: &Options) -> Result<Self, Error> {
        let setup = Setup {
            file: dir.path().join(FILE),
            schema: &SCHEMA,
            // A commit writes whole pages, most of them changed in one small
            // row: small pages keep the log small.
            page_size: 4096,
            cache_kib: options.cache_kib,
            page_count_max: options.page_count_max,
            log: Log::of(&dir.path().join(FILE), options.log_bytes_max),
        };
        let connection = open_writer_checking(&setup, options.check_bytes_max)?;
        let failed = |error| Error::sqlite(&setup.file, "opening", &error);
        keep_plans(&connection).map_err(failed)?;
        let work = QueueWork::open(connection, setup.file.clone(), dir.clone(), options.clone())?;
        let readers = Readers::open(&setup, options.readers.max(1), options.read_timeout)?;
        let prompt = Readers::open(&setup, PROMPT, options.read_timeout)?.short();
        readers.prepare(keep_plans).and_then(|()| prompt.prepare(keep_plans)).map_err(failed)?;
        let writer = Writer::spawn("queue-writer", options.group.max(1), work, setup.log)?;
        Ok(Self { readers, prompt, oldest: Arc::default(), writer })
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, orderwire_queue::Error>>) -> Job,
    ) -> Result<T, orderwire_queue::Error> {
        let ended = || Error::writer_ended("committing", Path::new(FILE)).into();
        let (answer, answered) = oneshot::channel();
        if !self.writer.send(job(answer)).await {
            return Err(ended());
        }
        answered.await.map_err(|_| ended())?
    }
}

#[async_trait]
impl Engine for SqliteQueue {
    fn capabilities(&self) -> Capabilities {
        Capabilities { durability: Durability::Power, shared: false }
    }

    async fn declare(
        &self,
        queues: &[(QueueName, QueueDef)],
        origin: Origin,
    ) -> Result<(), orderwire_queue::Error> {
        let queues = queues.to_vec();
        self.ask(|answer| Job::Declare { queues, origin, answer }).await
    }

    async fn definitions(&self) -> Result<Vec<(QueueName, QueueDef)>, orderwire_queue::Error> {
        Ok(self.prompt.read("listing queues", read::definitions).await?)
    }

    async fn commit(&self, ops: Vec<Op>, now: Timestamp) -> Result<Committed, orderwire_queue::Error> {
        self.ask(|answer| Job::Commit { ops, now, answer }).await
    }

    async fn state(&self, queue: &QueueName) -> Result<QueueState, orderwire_queue::Error> {
        let (name, oldest) = (queue.clone(), Arc::clone(&self.oldest));
        let read = move |db: &Connection| read::state(db, &oldest, &name);
        let state = self.prompt.read("reading a queue's state", read).await?;
        state.ok_or_else(|| orderwire_queue::Error::no_queue(queue))
    }

    async fn states(&self) -> Result<Vec<QueueState>, orderwire_queue::Error> {
        let oldest = Arc::clone(&self.oldest);
        let read = move |db: &Connection| read::states(db, &oldest);
        Ok(self.prompt.read("reading the queues' states", read).await?)
    }

    async fn figures(&self) -> Result<Vec<(QueueName, Figures)>, orderwire_queue::Error> {
        Ok(self.prompt.read("reading the queues' figures", read::figures).await?)
    }

    async fn peek(
        &self,
        queue: &QueueName,
        clients: &Clients,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u32, Entry)>, orderwire_queue::Error> {
        let (name, clients) = (queue.clone(), clients.clone());
        let peek = move |db: &Connection| peek::peek(db, &name, &clients, max, max_bytes);
        let found = self.readers.read("peeking", peek).await?;
        found.ok_or_else(|| orderwire_queue::Error::no_queue(queue))
    }

    async fn read(
        &self,
        queue: &QueueName,
        after: Position,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, orderwire_queue::Error> {
        let name = queue.clone();
        let read = move |db: &Connection| read::entries(db, &name, after, max, max_bytes);
        self.prompt
            .read("reading a stream", read)
            .await??
            .ok_or_else(|| orderwire_queue::Error::no_queue(queue))
    }

    async fn dead(
        &self,
        clients: &Clients,
        filter: &DeadFilter,
        after: i64,
        max: usize,
        max_bytes: usize,
    ) -> Result<DeadPage, orderwire_queue::Error> {
        let (clients, filter) = (clients.clone(), filter.clone());
        let read = move |db: &Connection| letters::page(db, &clients, &filter, after, max, max_bytes);
        Ok(self.readers.read("listing dead letters", read).await?)
    }

    async fn dead_refs(
        &self,
        clients: &Clients,
        filter: &DeadFilter,
        after: i64,
        max: usize,
    ) -> Result<DeadRefs, orderwire_queue::Error> {
        let (clients, filter) = (clients.clone(), filter.clone());
        let read = move |db: &Connection| letters::refs(db, &clients, &filter, after, max);
        Ok(self.readers.read("listing dead letters", read).await?)
    }

    async fn trace(&self, trace: Uuid, clients: &Clients) -> Result<TraceView, orderwire_queue::Error> {
        let clients = clients.clone();
        let read = move |db: &Connection| steps::view(db, trace, &clients);
        Ok(self.readers.read("reading a trace", read).await?)
    }
}

/// A plan that looked at bound values is made anew at each run with others, and that costs
/// more than the statement.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

impl From<Error> for orderwire_queue::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Damaged => Kind::Damaged,
            ErrorKind::Locked | ErrorKind::Later | ErrorKind::Unavailable => Kind::Unavailable,
        };
        Self::new(kind, error.to_string())
    }
}

/// The number under which a time is stored.
pub(crate) fn nanos(time: Timestamp) -> i64 {
    // Saturates in the year 2262.
    i64::try_from(time.as_nanosecond()).unwrap_or(if time < Timestamp::UNIX_EPOCH {
        i64::MIN
    } else {
        i64::MAX
    })
}

fn timestamp(nanos: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanos)).expect("jiff's range is wider than i64 nanoseconds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn slow_looks_keep_no_stream_waiting() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path()).unwrap();
        let queue = SqliteQueue::open(&dir, &Options { readers: 1, ..Options::for_testing() }).unwrap();
        let name: QueueName = "s".parse().unwrap();
        let def = serde_json::from_str(r##"{"kind":"stream","types":["#"]}"##).unwrap();
        queue.declare(&[(name.clone(), def)], Origin::Call).await.unwrap();
        let endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n";
        let slow = queue.readers.read("counting", |db| db.query_row(endless, [], |row| row.get::<_, i64>(0)));
        let read = async {
            assert!(queue.read(&name, Position(0), 1, 1).await.unwrap().is_empty());
            assert_eq!(queue.state(&name).await.unwrap().ready, 0);
        };
        tokio::select! {
            biased;
            _ = slow => panic!("an endless look ended before a read of the stream"),
            () = read => {}
        }
    }
}
