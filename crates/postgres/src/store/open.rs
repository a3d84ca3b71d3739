//! Opening the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use orderwire_store::{Error, Turn, Turns};
use orderwire_types::Limits;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::catalogue::Catalogue;
use super::error::damaged;
use super::follow;
use super::select;
use super::session::read;
use crate::db::{self, Database, Hold, Listener};
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
    /// As many as selects have connections: who has none waits as long as its read may take.
    pub(super) select_turns: Semaphore,
    pub(super) catalogue: Catalogue,
    /// Changes with every change of a dataset, order or release by this process.
    pub(super) changed: watch::Sender<u64>,
    /// Changes with every committed change of an order or release.
    pub(super) orders_changed: watch::Sender<u64>,
    /// The number of the last change of orders that this process has noticed.
    orders_seen: AtomicI64,
    /// Held by whoever writes orders.
    pub(super) orders_turn: Mutex<()>,
}

const SCHEMA: Schema = Schema {
    module: "store",
    steps: &[
        include_str!("../../migrations/store/0001_store.sql"),
        include_str!("../../migrations/store/0002_order_changes.sql"),
        include_str!("../../migrations/store/0003_link.sql"),
        include_str!("../../migrations/store/0004_resource.sql"),
        include_str!("../../migrations/store/0005_document.sql"),
    ],
};

impl PostgresStore {
    /// Opens the store of this database, makes it where it is missing, and brings an older
    /// one to the present version.
    ///
    /// # Errors
    /// `Refused`, `Later`, `Damaged`, `Unavailable`.
    pub async fn open(options: Options) -> Result<Self, crate::Error> {
        let Options { database, limits, selects } = options;
        let for_selects = db::Options {
            connections: selects.clamp(1, Semaphore::MAX_PERMITS),
            statement_timeout: select::STATEMENT_TIMEOUT,
            ..database.clone()
        };
        let database = Database::open(&database).await?;
        migrate(&database, &SCHEMA).await?;
        let id = identity(&database).await.map_err(|error| engine_error(&error))?;
        let shared = Arc::new(Shared {
            database,
            selects: Database::open(&for_selects).await?,
            select_turns: Semaphore::new(for_selects.connections),
            catalogue: Catalogue::new(limits),
            changed: watch::Sender::new(0),
            orders_changed: watch::Sender::new(0),
            orders_seen: AtomicI64::new(0),
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
        read!(&self.database, "reading the datasets", |session| self.catalogue.follow(session).await)?;
        let number: i64 = read!(&self.database, "looking for changes of orders", |session| {
            let row = session.row("SELECT number FROM store.order_changes WHERE id = 1", &[]).await?;
            Ok(row.ok_or_else(|| damaged("number of changes of orders"))?.try_get(0)?)
        })?;
        if self.orders_seen.fetch_max(number, Ordering::SeqCst) < number {
            self.orders_changed.send_modify(|changes| *changes += 1);
        }
        Ok(())
    }

    /// Has it noticed that this process changed an order or release, here and by others.
    /// What others changed before is noticed with it: it was committed by then.
    pub(super) fn orders_changed_by_us(&self, number: i64) {
        self.orders_seen.fetch_max(number, Ordering::SeqCst);
        self.orders_changed.send_modify(|changes| *changes += 1);
        self.tell();
    }

    /// Has others told that something changed.
    pub(super) fn tell(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }
}

#[async_trait]
impl Turns for PostgresStore {
    async fn turn(&self, name: &str) -> Turn {
        let hold = Hold::take(self.shared.database.clone(), name).await;
        Turn::new(hold.alive.clone(), hold)
    }
}
