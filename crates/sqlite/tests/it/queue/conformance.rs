//! The port's own suite.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use orderwire_queue::engine::Engine;
use orderwire_queue::testkit::Factory;
use orderwire_sqlite::{DataDir, Options, SqliteQueue};

/// A folder in which the engine is opened again and again.
struct Folder {
    root: Mutex<tempfile::TempDir>,
}

impl Folder {
    fn new() -> Self {
        Self { root: Mutex::new(tempfile::tempdir().unwrap()) }
    }
}

#[async_trait]
impl Factory for Folder {
    async fn open(&self) -> Result<Arc<dyn Engine>, String> {
        let path = self.root.lock().unwrap().path().to_owned();
        let dir = DataDir::open(path).map_err(|error| error.to_string())?;
        let queue = SqliteQueue::open(&dir, &Options::for_testing()).map_err(|error| error.to_string())?;
        Ok(Arc::new(queue))
    }
}

orderwire_queue::engine_conformance!(Arc::new(Folder::new()));
