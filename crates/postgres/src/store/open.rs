//! Opening the store.

use std::sync::Arc;

use orderwire_store::Error;
use orderwire_types::Limits;
use tokio::sync::{Mutex, watch};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::catalogue::Catalogue;
use super::error::damaged;
use super::follow;
use super::session::read;
use crate::db::{self, Database, Listener};
use crate::migrate::{Schema, migrate};

/// How the store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database. Its connections do what is short; selects have their own.
    pub database: db::Options,
    /// Limits of rows: those of the edge that accepted them.
    pub limits: Limits,
    /// How many selects run at once.
    pub selects: usize,
}

impl Options {
    /// The usual settings on this database.
    pub fn new(database: db::Options) -> Self {
        Self { database, limits: Limits::default(), selects: 4 }
    }
}

/// The store on a PostgreSQL database, which several processes share.
pub struct PostgresStore {
    pub(super) shared: Arc<Shared>,
    pub(super) id: Uuid,
    _listener: Listener,
    _following: AbortOnDropHandle<()>,
    _telling: AbortOnDropHandle<()>,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PostgresStore").field(&self.shared.database).finish()
    }
}

/// What the store, its tasks and its reads share.
pub(super) struct Shared {
    pub(super) database: Database,
    pub(super) selects: Database,
    pub(super) catalogue: Catalogue,
    /// Changes with every change of a dataset by this process.
    pub(super) datasets_changed: watch::Sender<u64>,
    /// Changes with every committed change of an order or release by this process.
    pub(super) orders_changed: watch::Sender<u64>,
    /// Held by whoever writes orders.
    pub(super) orders_turn: Mutex<()>,
}

const SCHEMA: Schema =
    Schema { module: "store", steps: &[include_str!("../../migrations/store/0001_store.sql")] };

impl PostgresStore {
    /// Opens the store of this database, makes it where it is missing, and brings an older
    /// one to the present version.
    ///
    /// # Errors
    /// `Refused`, `Later`, `Damaged`, `Unavailable`.
    pub async fn open(options: Options) -> Result<Self, crate::Error> {
        let Options { database, limits, selects } = options;
        let for_selects = db::Options { connections: selects.max(1), ..database.clone() };
        let database = Database::open(&database).await?;
        migrate(&database, &SCHEMA).await?;
        let id = identity(&database).await.map_err(|error| engine_error(&error))?;
        let shared = Arc::new(Shared {
            database,
            selects: Database::open(&for_selects).await?,
            catalogue: Catalogue::new(limits),
            datasets_changed: watch::Sender::new(0),
            orders_changed: watch::Sender::new(0),
            orders_turn: Mutex::new(()),
        });
        // What is told from here on is not missed: the first look comes after it.
        let (listener, following, telling) = follow::spawn(&shared);
        shared.follow().await.map_err(|error| engine_error(&error))?;
        let [following, telling] = [following, telling].map(AbortOnDropHandle::new);
        Ok(Self { shared, id, _listener: listener, _following: following, _telling: telling })
    }
}

/// What names the store.
async fn identity(database: &Database) -> Result<Uuid, Error> {
    read!(database, "reading the store's name", |session| {
        let row = session.row("SELECT id FROM store.identity", &[]).await?;
        Ok(row.ok_or_else(|| damaged("name of the store"))?.try_get(0)?)
    })
}

/// An error of the store's contract in the words of the engine, for those who open it.
fn engine_error(error: &Error) -> crate::Error {
    let kind = match error.kind() {
        orderwire_store::ErrorKind::Damaged => crate::ErrorKind::Damaged,
        _ => crate::ErrorKind::Unavailable,
    };
    crate::Error::new(kind, error.to_string())
}

impl Shared {
    /// Brings memory to what the database holds.
    pub(super) async fn follow(&self) -> Result<(), Error> {
        read!(&self.database, "reading the datasets", |session| self.catalogue.follow(session).await)
    }

    /// Has others told that datasets changed.
    pub(super) fn tell(&self) {
        self.datasets_changed.send_modify(|changes| *changes += 1);
    }
}
