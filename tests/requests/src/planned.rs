//! A store in front of another one, which looks at the statements of every read.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orderwire_store::testkit::forward::{Forward, ForwardDatasets};
use orderwire_store::{Error, RowSink, Select, Selected, Store};
use orderwire_types::Scope;
use orderwire_types::dataset::DatasetDef;

use crate::words::Words;

/// A store in front of another one, whichever it is: each read is planned for both engines, and
/// their statements hold nothing that a caller wrote.
pub struct Planned(Arc<dyn Store>);

impl Planned {
    /// In front of this one.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }
}

impl Forward for Planned {
    fn inner(&self) -> &dyn Store {
        &*self.0
    }
}

#[async_trait]
impl ForwardDatasets for Planned {
    /// # Panics
    /// When a statement holds something else, or one engine takes what the other one refuses.
    async fn select(
        &self,
        scope: &Scope,
        select: Select,
        sink: Box<dyn RowSink>,
        time_out: Duration,
    ) -> Result<(Selected, Box<dyn RowSink>), Error> {
        if let Some(dataset) = self.0.dataset(scope, &select.dataset) {
            planned(&dataset.def, scope, &select).unwrap_or_else(|wrong| panic!("{wrong}: {select:?}"));
        }
        self.0.select(scope, select, sink, time_out).await
    }
}

fn planned(def: &DatasetDef, scope: &Scope, select: &Select) -> Result<(), String> {
    let words = Words::of(def, select);
    let sqlite = orderwire_sqlite::store::statements(def, scope, select);
    let postgres = orderwire_postgres::store::statements(def, scope, select);
    match (sqlite, postgres) {
        (Ok(sqlite), Ok(postgres)) => {
            sqlite.iter().chain(&postgres).try_for_each(|statement| words.make(statement))
        }
        (Err(_), Err(_)) => Ok(()),
        (Ok(_), Err(error)) => Err(format!("only PostgreSQL refuses: {error}")),
        (Err(error), Ok(_)) => Err(format!("only SQLite refuses: {error}")),
    }
}
