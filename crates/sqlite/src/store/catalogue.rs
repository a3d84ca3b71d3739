//! What datasets there are, in memory: read on every call, changed by the
//! writer alone after its commits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use orderwire_store::Dataset;
use orderwire_types::dataset::DatasetDef;
use orderwire_types::{DatasetName, Scope};
use rusqlite::Connection;
use uuid::Uuid;

use super::error::damaged_value;
use super::table::moment;

/// One dataset and the generation of its rows.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) dataset: Arc<Dataset>,
    /// The definition as it is in the file.
    stored: String,
    pub(super) generation: AtomicU64,
}

/// All datasets.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    /// What names the store.
    id: Uuid,
    all: RwLock<BTreeMap<DatasetName, Arc<Entry>>>,
}

impl Catalogue {
    /// Reads what the file has; also the greatest generation there ever was.
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<(Self, u64)> {
        let id: [u8; 16] = connection.query_row("SELECT id FROM identity", [], |row| row.get(0))?;
        let mut last: i64 = connection.query_row("SELECT generation FROM past", [], |row| row.get(0))?;
        let mut all = BTreeMap::new();
        let mut statement =
            connection.prepare("SELECT name, def, created_at, changed_at, generation FROM dataset")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let name: DatasetName = row.get::<_, String>(0)?.parse().map_err(|_| damaged_value(0, "name"))?;
            let stored: String = row.get(1)?;
            let def: DatasetDef = serde_json::from_str(&stored).map_err(|_| damaged_value(1, "def"))?;
            let dataset =
                Dataset { name: name.clone(), def, created_at: moment(row, 2)?, changed_at: moment(row, 3)? };
            let generation: i64 = row.get(4)?;
            last = last.max(generation);
            all.insert(name, Arc::new(Entry::new(dataset, stored, generation.unsigned_abs())));
        }
        Ok((Self { id: Uuid::from_bytes(id), all: RwLock::new(all) }, last.unsigned_abs()))
    }

    /// What names the store.
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// One dataset, whoever asks.
    pub(super) fn get(&self, name: &DatasetName) -> Option<Arc<Entry>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// One dataset, when it is within the scope.
    pub(super) fn visible(&self, scope: &Scope, name: &DatasetName) -> Option<Arc<Entry>> {
        touches(scope, name).then(|| self.get(name)).flatten()
    }

    /// All datasets, by name.
    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Puts a dataset in the place of what was there.
    pub(super) fn put(&self, entry: Entry) {
        let name = entry.dataset.name.clone();
        self.all.write().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::new(entry));
    }

    /// Forgets one.
    pub(super) fn remove(&self, name: &DatasetName) {
        self.all.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl Entry {
    pub(super) fn new(dataset: Dataset, stored: String, generation: u64) -> Self {
        Self { dataset: Arc::new(dataset), stored, generation: AtomicU64::new(generation) }
    }

    /// Whether the file has the dataset like this in the state that a transaction sees.
    pub(super) fn is_in(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM dataset WHERE name = ?1 AND def = ?2)";
        let mut statement = connection.prepare_cached(sql)?;
        statement.query_row([self.dataset.name.as_str(), &self.stored], |row| row.get(0))
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The dataset with another definition.
    pub(super) fn changed(&self, def: &DatasetDef, stored: String, now: Timestamp, generation: u64) -> Self {
        let dataset = Dataset { def: def.clone(), changed_at: now, ..(*self.dataset).clone() };
        Self::new(dataset, stored, generation)
    }
}

/// Whether a dataset is among the objects of a scope.
pub(super) fn touches(scope: &Scope, name: &DatasetName) -> bool {
    scope.objects.is_none() || scope.touches(&format!("dataset/{name}"))
}
