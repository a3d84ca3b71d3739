//! The real store, watched.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use orderwire_sqlite::store::SqliteStore;
use orderwire_store::testkit::forward::{Forward, ForwardDatasets};
use orderwire_store::{Datasets, Error, ErrorKind, RowSink, Select, Selected, Store};
use orderwire_types::Scope;

/// Counts reads, and can be away.
pub(crate) struct Watched {
    store: SqliteStore,
    selects: AtomicU64,
    pub(crate) away: AtomicBool,
}

impl Watched {
    pub(crate) fn new(store: SqliteStore) -> Self {
        Self { store, selects: AtomicU64::new(0), away: AtomicBool::new(false) }
    }

    /// How many reads there were.
    pub(crate) fn selects(&self) -> u64 {
        self.selects.load(SeqCst)
    }
}

impl Forward for Watched {
    fn inner(&self) -> &dyn Store {
        &self.store
    }
}

#[async_trait]
impl ForwardDatasets for Watched {
    async fn select(
        &self,
        scope: &Scope,
        select: Select,
        sink: Box<dyn RowSink>,
        time_out: Duration,
    ) -> Result<(Selected, Box<dyn RowSink>), Error> {
        self.selects.fetch_add(1, SeqCst);
        if self.away.load(SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "the store is away"));
        }
        self.store.select(scope, select, sink, time_out).await
    }
}
