//! The queue on PostgreSQL: the schema `queue`, which several processes use at once.
//!
//! [`PostgresQueue`] is the async edge. Commits go over one connection ([`session`]), each in
//! one round trip: its operations are calls of functions that are sent together with the
//! beginning and the end of the transaction, and none of them waits for the answer of
//! another. The functions (`sql/`) belong to the connection, so that they are those of this
//! program whatever other versions use the database; what a table holds is said in
//! `migrations/queue/`. Reads go over the pool.
//!
//! ## What is locked
//! Every transaction that writes begins by changing the one row of `queue.meta`, and thereby
//! waits for the one before, of whatever process, until that has ended: commits are applied
//! one after the other, positions become visible in order, and no reader of a stream passes
//! over one that becomes visible later. That a commit carries all that waits makes it cheap.
//! Nobody takes another lock before that one, and who has it waits for nobody who could wait
//! for it: reads lock nothing, and a migration takes no lock of rows. So there is no
//! deadlock. A process that is gone with the lock loses it when the server notices,
//! at the latest after `idle_in_transaction_session_timeout`.
//!
//! ## Who knows what
//! Nothing of the queues' contents is kept in memory. A process knows the queues' ids and
//! kinds as of the last change of definitions that it has seen; a commit that finds another
//! one fails before it did anything, and is made anew. What others do is noticed by
//! [`elsewhere`].
//!
//! ## A commit without an answer
//! Every commit writes its number beside the name of its node. When the connection breaks
//! before the answer, the session of then is ended, and the number says what became of it.

mod calls;
mod clock;
mod elsewhere;
mod letters;
mod plan;
mod read;
mod session;
mod trace;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_queue::ErrorKind as Kind;
use orderwire_queue::engine::{Capabilities, Committed, Durability, Elsewhere, Engine, Op, Origin};
use orderwire_queue::model::{
    DeadFilter, DeadPage, DeadRefs, Entry, Figures, Position, QueueState, TraceView,
};
use orderwire_types::queue::QueueDef;
use orderwire_types::scope::Clients;
use orderwire_types::{Client, QueueName};
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::db::Database;
use crate::error::{Error, ErrorKind};
use crate::migrate::{Schema, migrate};
use elsewhere::Watch;
use writer::Writer;

static SCHEMA: Schema =
    Schema { module: "queue", steps: &[include_str!("../../migrations/queue/0001_queue.sql")] };

/// How a queue on PostgreSQL is opened.
#[derive(Clone, Debug)]
pub struct QueueOptions {
    /// Positions that are given out are above this one; see what the embedded engine says.
    pub position_min: i64,
    /// How often it is looked what other processes did, also when none told.
    pub look_every: Duration,
    /// For how long it is asked what became of a commit without an answer.
    pub ask_for: Duration,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self { position_min: 0, look_every: Duration::from_millis(750), ask_for: Duration::from_secs(10) }
    }
}

/// The queue's engine on PostgreSQL.
#[derive(Debug)]
pub struct PostgresQueue {
    database: Database,
    durability: Durability,
    writer: Arc<Mutex<Writer>>,
    watch: Watch,
    _coming_back: AbortOnDropHandle<()>,
}

/// How often it is looked whether the connection of commits is there.
const COME_BACK: Duration = Duration::from_secs(1);

impl PostgresQueue {
    /// Opens the queue in a database, making or migrating its schema.
    ///
    /// # Errors
    /// As [`Database::open`], also where the clocks of this machine and the database's are seconds
    /// apart; `Later` for a schema of a later version, `Damaged` for one
    /// that was changed by others.
    pub async fn open(database: &Database, options: &QueueOptions) -> Result<Self, Error> {
        migrate(database, &SCHEMA).await?;
        clock::check(database, Timestamp::now).await?;
        let durability = durability(database).await?;
        let node = Uuid::new_v4();
        let watch = Watch::new(database.clone(), node, options.look_every);
        let writer = Writer::open(database.clone(), node, options, watch.own()).await?;
        let writer = Arc::new(Mutex::new(writer));
        let coming_back = {
            let writer = Arc::clone(&writer);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(COME_BACK).await;
                    writer.lock().await.come_back().await;
                }
            })
        };
        let _coming_back = AbortOnDropHandle::new(coming_back);
        Ok(Self { database: database.clone(), durability, writer, watch, _coming_back })
    }

    /// What the writer does is done to its end, also when the caller goes away.
    async fn write<T, F>(
        &self,
        job: impl FnOnce(tokio::sync::OwnedMutexGuard<Writer>) -> F,
    ) -> Result<T, orderwire_queue::Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, orderwire_queue::Error>> + Send + 'static,
    {
        let writing = job(Arc::clone(&self.writer).lock_owned().await);
        tokio::spawn(writing).await.unwrap_or_else(|error| {
            let message = format!("the queue's writer ended by a fault of the program ({error})");
            Err(orderwire_queue::Error::new(Kind::Unconfirmed, message))
        })
    }
}

/// Whether the server promises what it acknowledges.
async fn durability(database: &Database) -> Result<Durability, Error> {
    let what = "opening the queue";
    let client = database.client(what).await?;
    let ask = "SELECT current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'";
    let row = database.within(what, client.query_one(ask, &[])).await?;
    if row.get(0) {
        return Ok(Durability::Power);
    }
    tracing::warn!(
        "the database's server does not synchronise what it writes (fsync, full_page_writes): events may be lost with its power"
    );
    Ok(Durability::Process)
}

#[async_trait]
impl Engine for PostgresQueue {
    fn capabilities(&self) -> Capabilities {
        Capabilities { durability: self.durability, shared: true }
    }

    async fn declare(
        &self,
        queues: &[(QueueName, QueueDef)],
        origin: Origin,
    ) -> Result<(), orderwire_queue::Error> {
        let queues = queues.to_vec();
        self.write(|mut writer| async move { writer.declare(&queues, origin).await }).await
    }

    async fn definitions(&self) -> Result<Vec<(QueueName, QueueDef)>, orderwire_queue::Error> {
        Ok(read::definitions(&self.database).await?)
    }

    async fn commit(&self, ops: Vec<Op>, now: Timestamp) -> Result<Committed, orderwire_queue::Error> {
        self.write(move |mut writer| async move { writer.commit(&ops, now).await }).await
    }

    async fn elsewhere(&self) -> Elsewhere {
        self.watch.next().await
    }

    async fn state(&self, queue: &QueueName) -> Result<QueueState, orderwire_queue::Error> {
        let states = read::states(&self.database, Some(queue)).await?;
        states.into_iter().next().ok_or_else(|| orderwire_queue::Error::no_queue(queue))
    }

    async fn states(&self) -> Result<Vec<QueueState>, orderwire_queue::Error> {
        Ok(read::states(&self.database, None).await?)
    }

    async fn figures(&self) -> Result<Vec<(QueueName, Figures)>, orderwire_queue::Error> {
        Ok(read::figures(&self.database).await?)
    }

    async fn peek(
        &self,
        queue: &QueueName,
        clients: &Clients,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u32, Entry)>, orderwire_queue::Error> {
        let found = read::peek(&self.database, queue, clients, max, max_bytes).await?;
        found.ok_or_else(|| orderwire_queue::Error::no_queue(queue))
    }

    async fn read(
        &self,
        queue: &QueueName,
        after: Position,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, orderwire_queue::Error> {
        read::entries(&self.database, queue, after, max, max_bytes).await?
    }

    async fn dead(
        &self,
        clients: &Clients,
        filter: &DeadFilter,
        after: i64,
        max: usize,
        max_bytes: usize,
    ) -> Result<DeadPage, orderwire_queue::Error> {
        Ok(letters::page(&self.database, clients, filter, after, max, max_bytes).await?)
    }

    async fn dead_refs(
        &self,
        clients: &Clients,
        filter: &DeadFilter,
        after: i64,
        max: usize,
    ) -> Result<DeadRefs, orderwire_queue::Error> {
        Ok(letters::refs(&self.database, clients, filter, after, max).await?)
    }

    async fn trace(&self, trace: Uuid, clients: &Clients) -> Result<TraceView, orderwire_queue::Error> {
        Ok(trace::view(&self.database, trace, clients).await?)
    }
}

impl From<Error> for orderwire_queue::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Damaged => Kind::Damaged,
            ErrorKind::Unconfirmed => Kind::Unconfirmed,
            ErrorKind::Refused | ErrorKind::Later | ErrorKind::Unavailable => Kind::Unavailable,
        };
        Self::new(kind, error.to_string())
    }
}

/// The number under which a time is stored.
fn nanos(time: Timestamp) -> i64 {
    // Saturates in the year 2262.
    i64::try_from(time.as_nanosecond()).unwrap_or(if time < Timestamp::UNIX_EPOCH { 0 } else { i64::MAX })
}

fn timestamp(nanos: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanos)).expect("jiff's range is wider than i64 nanoseconds")
}

/// The names of some clients; none means all.
fn names(clients: &Clients) -> Option<Vec<&str>> {
    match clients {
        Clients::All => None,
        Clients::Only(clients) => Some(clients.iter().map(Client::as_str).collect()),
    }
}

/// A number of the database's, where the program's are unsigned.
fn long(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
