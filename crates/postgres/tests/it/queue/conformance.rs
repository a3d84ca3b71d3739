//! The port's own suite.

use std::sync::Arc;

use async_trait::async_trait;
use orderwire_postgres::{Database, PostgresQueue, QueueOptions};
use orderwire_queue::engine::Engine;
use orderwire_queue::testkit::Factory;

use crate::support::TestDatabase;

/// A database in which the engine is opened again and again.
#[derive(Default)]
struct Place {
    database: tokio::sync::OnceCell<TestDatabase>,
}

#[async_trait]
impl Factory for Place {
    async fn open(&self) -> Result<Arc<dyn Engine>, String> {
        let place = self.database.get_or_init(TestDatabase::new).await;
        let database = Database::open(&place.options()).await.map_err(|error| error.to_string())?;
        let queue = PostgresQueue::open(&database, &QueueOptions::default()).await;
        Ok(Arc::new(queue.map_err(|error| error.to_string())?))
    }
}

orderwire_queue::engine_conformance!(Arc::new(Place::default()));
