//! The engines of the queue and the store: embedded, or on a PostgreSQL that servers share.

use std::sync::Arc;

use orderwire_config::{Config, Report, Secret};
use orderwire_postgres::store::PostgresStore;
use orderwire_postgres::{Database, Identity, PostgresQueue, QueueOptions};
use orderwire_queue::Engine;
use orderwire_sqlite::store::SqliteStore;
use orderwire_sqlite::{DataDir, SqliteQueue};
use orderwire_store::{Datasets as _, Store};
use orderwire_types::Limits;

use crate::error::{Error, While as _};
use crate::work::DATA;

/// What a server stores in.
pub(crate) struct Engines {
    pub(crate) queue: Arc<dyn Engine>,
    pub(crate) store: Arc<dyn Store>,
    /// The data folder, where it holds no engine that locks it.
    pub(crate) folder: Option<DataDir>,
}

/// Opens both engines. The store comes first: a queue that was lost and made anew has to begin
/// behind what the store has recorded.
pub(crate) async fn open(config: &Config, limits: &Limits) -> Result<Engines, Error> {
    if config.store.is_postgres() { postgres(config, limits).await } else { embedded(config, limits).await }
}

/// On a thread of its own, because the first start after a crash replays a log.
async fn embedded(config: &Config, limits: &Limits) -> Result<Engines, Error> {
    let folder = config.store_folder();
    let limits = limits.clone();
    tokio::task::spawn_blocking(move || {
        let dir = DataDir::open(&folder).while_("opening the data folder")?;
        let options =
            orderwire_sqlite::store::Options { limits, ..orderwire_sqlite::store::Options::default() };
        let store = SqliteStore::open(&dir, options).while_("opening the store")?;
        let recorded = tokio::runtime::Handle::current().block_on(store.position(DATA));
        let position_min = recorded.while_("reading how far the store is")?;
        let options = orderwire_sqlite::Options { position_min, ..orderwire_sqlite::Options::default() };
        let queue = SqliteQueue::open(&dir, &options).while_("opening the queue")?;
        Ok(Engines { queue: Arc::new(queue), store: Arc::new(store), folder: None })
    })
    .await
    .while_("opening the data folder")?
}

async fn postgres(config: &Config, limits: &Limits) -> Result<Engines, Error> {
    // Keys, the spool and what releases run from are in it: no second process may use them.
    let folder = config.data.clone();
    let folder = tokio::task::spawn_blocking(move || DataDir::open(&folder));
    let folder = folder.await.while_("opening the data folder")?.while_("opening the data folder")?;
    let database = database_options(config)?;
    let share = |parts: usize| (database.connections / parts).max(1);
    let (queue, store, selects) = (share(4), share(4), share(2));
    let options = orderwire_postgres::store::Options {
        database: orderwire_postgres::Options { connections: store, ..database.clone() },
        limits: limits.clone(),
        selects,
    };
    let store = PostgresStore::open(options).await.while_("opening the store")?;
    let position_min = store.position(DATA).await.while_("reading how far the store is")?;
    let database = orderwire_postgres::Options { connections: queue, ..database };
    let database = Database::open(&database).await.while_("opening the queue")?;
    let options = QueueOptions { position_min, ..QueueOptions::default() };
    let queue = PostgresQueue::open(&database, &options).await.while_("opening the queue")?;
    Ok(Engines { queue: Arc::new(queue), store: Arc::new(store), folder: Some(folder) })
}

/// Whether the PostgreSQL of the configuration can be used, as far as it can be tried without
/// leaving anything there; what it is.
///
/// # Errors
/// Why not, and what to do, in plain words.
pub async fn try_store(config: &Config) -> Result<String, String> {
    let options = database_options(config).map_err(|error| error.to_string())?;
    let version = Database::try_out(&options).await.map_err(|error| error.to_string())?;
    Ok(format!("connected to PostgreSQL {version}, and may make what is needed"))
}

/// Only the engine knows which parameters an URL may have, and which files it can read.
pub(crate) fn check(config: &Config, report: &mut Report<'_>) {
    if !config.store.is_postgres() || report.is_faulty(&["store"]) {
        return;
    }
    if let Err(error) = database_options_without_password(config).check() {
        report.fault(&["store", "url"], error.to_string());
    }
}

fn database_options(config: &Config) -> Result<orderwire_postgres::Options, Error> {
    let wrong = |why: String| Error::failed(format!("store.password: {why}"));
    let secret = config.store.password.as_ref().map(Secret::resolve).transpose().map_err(wrong)?;
    let password = secret.as_ref().map(|secret| secret.text().map(str::to_owned)).transpose();
    let password = password.map_err(wrong)?;
    Ok(orderwire_postgres::Options { password, ..database_options_without_password(config) })
}

fn database_options_without_password(config: &Config) -> orderwire_postgres::Options {
    let settings = &config.store;
    let files = settings.certificate.clone().zip(settings.key.clone());
    orderwire_postgres::Options {
        ca_file: settings.ca.clone(),
        identity: files.map(|(certificate_file, key_file)| Identity { certificate_file, key_file }),
        connections: usize::try_from(settings.connections).unwrap_or(usize::MAX),
        statement_timeout: settings.statement_timeout.0,
        ..orderwire_postgres::Options::new(settings.url.clone())
    }
}
