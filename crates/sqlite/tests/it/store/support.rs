//! Stores in folders of their own.

use std::sync::Arc;

use async_trait::async_trait;
use orderwire_sqlite::DataDir;
use orderwire_sqlite::store::{Options, SqliteStore};
use orderwire_store::Store;
use orderwire_store::testkit::Factory;

/// A folder that is opened again and again.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn file(&self) -> std::path::PathBuf {
        self.0.path().join("store.db")
    }

    pub(super) fn open(&self) -> Result<SqliteStore, orderwire_sqlite::Error> {
        // Small, so that cases reach all of it.
        let late = orderwire_sqlite::Options::for_testing().late;
        SqliteStore::open(&DataDir::open(self.0.path())?, Options { late, ..Options::default() })
    }
}

#[async_trait]
impl Factory for Folder {
    async fn open(&self) -> Result<Arc<dyn Store>, String> {
        match Folder::open(self) {
            Ok(store) => Ok(Arc::new(store)),
            Err(error) => Err(format!("opening the store: {error}")),
        }
    }
}
