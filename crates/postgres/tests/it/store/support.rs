//! Stores on databases of a test's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use orderwire_postgres::store::{Options, PostgresStore};
use orderwire_store::Store;
use orderwire_store::testkit::Factory;

use crate::support::{TestDatabase, connect};

/// Opens the store of a database.
pub(super) async fn open(database: &TestDatabase) -> Result<PostgresStore, orderwire_postgres::Error> {
    PostgresStore::open(Options::new(database.options())).await
}

/// A database for one case after the other, which is emptied before it is opened first: making
/// one takes the server long.
pub(super) struct Place {
    database: Arc<TestDatabase>,
    is_empty: AtomicBool,
}

impl Place {
    pub(super) fn on(database: &Arc<TestDatabase>) -> Self {
        Self { database: database.clone(), is_empty: AtomicBool::new(false) }
    }
}

#[async_trait]
impl Factory for Place {
    async fn open(&self) -> Result<Arc<dyn Store>, String> {
        if !self.is_empty.swap(true, Ordering::SeqCst) {
            let client = connect(&self.database.url()).await;
            let ours = "DROP SCHEMA IF EXISTS store, data, orderwire CASCADE";
            client.batch_execute(ours).await.map_err(|error| format!("emptying the database: {error}"))?;
        }
        match open(&self.database).await {
            Ok(store) => Ok(Arc::new(store)),
            Err(error) => Err(format!("opening the store: {error}")),
        }
    }
}
