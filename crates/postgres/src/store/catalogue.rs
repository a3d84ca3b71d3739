//! What datasets there are, in memory: read on every call. It follows the database
//! ([`follow`](super::follow)), because other processes change it as well.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use orderwire_store::{Dataset, Error};
use orderwire_types::dataset::DatasetDef;
use orderwire_types::{DatasetName, Limits, Scope};
use tokio::sync::Mutex;
use tokio_postgres::Row;

use super::error::{Failure, damaged};
use super::session::Session;
use super::table::Filler;
use super::value::Moment;

/// One dataset and the generation of its rows.
pub(super) struct Entry {
    pub(super) dataset: Arc<Dataset>,
    /// The generation of its definition.
    pub(super) defined: i64,
    generation: AtomicU64,
    /// What its table is filled with.
    pub(super) filler: Filler,
}

impl Entry {
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

/// All datasets.
pub(super) struct Catalogue {
    limits: Limits,
    all: RwLock<BTreeMap<DatasetName, Arc<Entry>>>,
    /// Held from before the database is read until memory is as it was: what is read
    /// later is put down later.
    following: Mutex<()>,
}

impl Catalogue {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, all: RwLock::default(), following: Mutex::new(()) }
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

    /// Notes that the rows of a dataset changed, after the commit. Generations only grow,
    /// those of one that was made anew are above those before.
    pub(super) fn changed(&self, name: &DatasetName, generation: i64) {
        if let Some(entry) = self.get(name) {
            entry.generation.fetch_max(generation.unsigned_abs(), Ordering::AcqRel);
        }
    }

    /// Becomes as the database is.
    pub(super) async fn follow(&self, session: &Session) -> Result<(), Failure> {
        let _following = self.following.lock().await;
        let there = session.rows("SELECT name, defined, generation FROM store.dataset", &[]).await?;
        let mut all = BTreeMap::new();
        let mut unknown = Vec::new();
        for row in &there {
            let name: &str = row.try_get(0)?;
            let (defined, generation): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
            let name: DatasetName = name.parse().map_err(|_| damaged("name of a dataset"))?;
            match self.get(&name).filter(|entry| entry.defined == defined) {
                Some(entry) => {
                    entry.generation.fetch_max(generation.unsigned_abs(), Ordering::AcqRel);
                    all.insert(name, entry);
                }
                None => unknown.push(name.as_str().to_owned()),
            }
        }
        if !unknown.is_empty() {
            let sql = "SELECT name, def, created_at, changed_at, defined, generation FROM store.dataset \
                       WHERE name = ANY($1)";
            for row in &session.rows(sql, &[&unknown]).await? {
                let entry = self.entry(row)?;
                all.insert(entry.dataset.name.clone(), Arc::new(entry));
            }
        }
        *self.all.write().unwrap_or_else(PoisonError::into_inner) = all;
        Ok(())
    }

    fn entry(&self, row: &Row) -> Result<Entry, Failure> {
        let name: &str = row.try_get(0)?;
        let name: DatasetName = name.parse().map_err(|_| damaged("name of a dataset"))?;
        let def: DatasetDef = definition(row.try_get(1)?)?;
        let (Moment(created_at), Moment(changed_at)) = (row.try_get(2)?, row.try_get(3)?);
        let generation: i64 = row.try_get(5)?;
        Ok(Entry {
            filler: Filler::new(&name, &def, &self.limits),
            dataset: Arc::new(Dataset { name, def, created_at, changed_at }),
            defined: row.try_get(4)?,
            generation: AtomicU64::new(generation.unsigned_abs()),
        })
    }
}

/// A definition as it is stored.
pub(super) fn definition(text: &str) -> Result<DatasetDef, Error> {
    serde_json::from_str(text).map_err(|_| damaged("definition of a dataset"))
}

/// Whether a dataset is among the objects of a scope.
pub(super) fn touches(scope: &Scope, name: &DatasetName) -> bool {
    scope.objects.is_none() || scope.touches(&format!("dataset/{name}"))
}
