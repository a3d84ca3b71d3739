//! Opening the store, and the way in for writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orderwire_store::{Error, OwnTurns, Turn, Turns};
use orderwire_types::Limits;
use rusqlite::Connection;
use tokio::sync::watch;

use super::catalogue::Catalogue;
use super::error::{Failure, from_file};
use super::indexes;
use super::writer::{Core, Damage, Job, Memory, Remembered, Transaction};
use crate::db::{LOG_BYTES, Log, Readers, Setup, Writer, open_writer};
use crate::late::LateOptions;
use crate::lock::DataDir;
use crate::migrate::Schema;

/// How the store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Limits of rows: those of the edge that accepted them.
    pub limits: Limits,
    /// How many selects run at once.
    pub selects: usize,
    /// The file's size limit in pages of 8 KiB; `None` is the disk.
    pub page_count_max: Option<u32>,
    /// The length of the write-ahead log at which it is emptied, in bytes. New
    /// reads wait some seconds for those that run; these are ended when it has
    /// four times that length.
    pub log_bytes_max: u64,
    /// How the ids of events reach their index.
    pub late: LateOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            selects: 4,
            page_count_max: None,
            log_bytes_max: LOG_BYTES,
            late: LateOptions::default(),
        }
    }
}

/// The store in the file `store.db` of a data folder. Dropping it waits for
/// the writes that were handed over.
#[derive(Debug)]
pub struct SqliteStore {
    pub(super) file: PathBuf,
    pub(super) catalogue: Arc<Catalogue>,
    /// Reads of a few rows, apart from selects so that these cannot delay them.
    pub(super) lookups: Readers,
    pub(super) selects: Readers,
    /// Changes with every committed change of an order or release.
    pub(super) orders_changed: watch::Sender<u64>,
    pub(super) turns: OwnTurns,
    damage: Arc<Damage>,
    writer: Writer<Job>,
    _dir: DataDir,
}

/// The most writes of one transaction.
const GROUP: usize = 256;

/// The longest look-up.
const LOOKUP: Duration = Duration::from_secs(10);

pub(super) const SCHEMA: Schema = Schema {
    // "OWst"
    application_id: 0x4f57_7374,
    migrations: &[
        include_str!("../../migrations/store/0001_store.sql"),
        include_str!("../../migrations/store/0002_ordered.sql"),
        include_str!("../../migrations/store/0003_delivery_log.sql"),
        include_str!("../../migrations/store/0004_depth.sql"),
        include_str!("../../migrations/store/0005_remembered.sql"),
        include_str!("../../migrations/store/0006_identity.sql"),
        include_str!("../../migrations/store/0007_link.sql"),
        include_str!("../../migrations/store/0008_resource.sql"),
    ],
};

impl SqliteStore {
    /// Opens the store of this folder, makes it where it is missing, and
    /// brings an older one to the present version.
    ///
    /// # Errors
    /// `Later` for a file of a later version, `Damaged`, `Unavailable`.
    pub fn open(dir: &DataDir, options: Options) -> Result<Self, crate::Error> {
        let file = dir.path().join("store.db");
        let setup = Setup {
            file: file.clone(),
            schema: &SCHEMA,
            page_size: 8192,
            cache_kib: 16 << 10,
            page_count_max: options.page_count_max,
            log: Log::of(&file, options.log_bytes_max),
        };
        let connection = open_writer(&setup)?;
        let (catalogue, last_generation) = Catalogue::load(&connection)
            .map_err(|error| crate::Error::sqlite(&file, "reading the datasets", &error))?;
        mend_indexes(&connection, &catalogue, &file)?;
        let catalogue = Arc::new(catalogue);
        let remembered = Remembered::load(&connection, options.late)
            .map_err(|error| crate::Error::sqlite(&file, "reading what is remembered", &error))?;
        let lookups = Readers::open(&setup, 2, LOOKUP)?.short();
        let selects = Readers::open(&setup, options.selects.max(1), LOOKUP)?;
        selects
            .prepare(|connection| {
                super::pattern::register(connection)?;
                super::functions::register(connection)?;
                super::expr::register(connection)
            })
            .map_err(|error| crate::Error::sqlite(&file, "opening", &error))?;
        let orders_changed = watch::Sender::new(0);
        let memory = Memory {
            limits: options.limits,
            catalogue: catalogue.clone(),
            last_generation,
            fillers: std::collections::HashMap::new(),
            remembered,
            effects: Vec::new(),
            orders_changed: orders_changed.clone(),
        };
        let damage = Arc::new(Damage::default());
        let core = Core::new(file.clone(), connection, memory, damage.clone());
        let writer = Writer::spawn("orderwire-store", GROUP, core, setup.log)?;
        Ok(Self {
            file,
            catalogue,
            lookups,
            selects,
            orders_changed,
            turns: OwnTurns::default(),
            damage,
            writer,
            _dir: dir.clone(),
        })
    }

    /// Runs a write on the writer's thread; returns after its commit.
    pub(super) async fn write<T, F>(&self, what: &'static str, write: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Fn(&mut Transaction<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let (job, answer) = Job::new(what, write);
        self.send(what, job, answer).await
    }

    /// The same in a transaction of its own.
    pub(super) async fn write_alone<T, F>(&self, what: &'static str, write: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Fn(&mut Transaction<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let (job, answer) = Job::new(what, write);
        self.send(what, job.alone(), answer).await
    }

    async fn send<T>(
        &self,
        what: &'static str,
        job: Job,
        answer: tokio::sync::oneshot::Receiver<Result<T, Error>>,
    ) -> Result<T, Error> {
        let ended = || from_file(&crate::Error::writer_ended(what, &self.file));
        if !self.writer.send(job).await {
            return Err(ended());
        }
        answer.await.map_err(|_| ended())?
    }

    /// Reads a little.
    pub(super) async fn look_up<T, F>(&self, what: &'static str, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.lookups.read(what, read).await.map_err(|error| self.read_failed(&error))
    }

    /// The error of a read, in the words of the contract.
    pub(super) fn read_failed(&self, error: &crate::Error) -> Error {
        let error = from_file(error);
        self.damage.note(&error);
        error
    }
}

/// Makes the indexes that are missing. Where they cannot be made, as on a disk
/// that is nearly full, some reads cost more, and nothing else is lost.
fn mend_indexes(connection: &Connection, catalogue: &Catalogue, file: &Path) -> Result<(), crate::Error> {
    let Err(error) = indexes::mend_all(connection, catalogue) else { return Ok(()) };
    let error = crate::Error::sqlite(file, "making indexes", &error);
    if error.kind() == crate::ErrorKind::Damaged {
        return Err(error);
    }
    tracing::warn!(%error, "a dataset lacks indexes");
    Ok(())
}

#[async_trait]
impl Turns for SqliteStore {
    /// A store belongs to one process.
    async fn turn(&self, name: &str) -> Turn {
        self.turns.turn(name).await
    }
}
