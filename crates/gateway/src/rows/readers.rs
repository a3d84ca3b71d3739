//! One reader per dataset, kept as long as its definition.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use orderwire_store::Dataset;
use orderwire_types::row::Reader;
use orderwire_types::{DatasetName, Scope};

use crate::state::State;

/// The readers of the datasets that rows came for. As many as datasets.
#[derive(Default)]
pub(crate) struct Readers(RwLock<HashMap<DatasetName, Known>>);

/// A definition and its reader.
type Known = (Arc<Dataset>, Arc<Reader>);

impl Readers {
    /// The reader of a dataset within the scope; `None` when there is none.
    pub(crate) fn of(&self, state: &State, scope: &Scope, name: &DatasetName) -> Option<Arc<Reader>> {
        let Some(dataset) = state.store().dataset(scope, name) else {
            // Outside a scope is not gone.
            if scope.objects.is_none() {
                self.0.write().unwrap_or_else(PoisonError::into_inner).remove(name);
            }
            return None;
        };
        if let Some((known, reader)) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name)
            && (Arc::ptr_eq(known, &dataset) || *known == dataset)
        {
            return Some(Arc::clone(reader));
        }
        let reader = Arc::new(Reader::new(&dataset.def, state.limits()));
        let mut readers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        readers.insert(name.clone(), (dataset, Arc::clone(&reader)));
        Some(reader)
    }
}
