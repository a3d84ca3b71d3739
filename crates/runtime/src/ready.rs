//! Whether every part works.

use std::sync::Arc;

use async_trait::async_trait;
use orderwire_gateway::{Component, Readiness};
use orderwire_queue::Queues;
use orderwire_store::Store;

/// The parts of an embedded server.
pub(crate) struct Parts {
    pub(crate) queues: Queues,
    pub(crate) store: Arc<dyn Store>,
}

#[async_trait]
impl Readiness for Parts {
    async fn components(&self) -> Vec<Component> {
        let queue = self.queues.health().map_err(|error| error.to_string());
        // A look-up of a reader that always exists, within the store's own time limit.
        let store = self.store.position("data").await.map(drop).map_err(|error| error.to_string());
        vec![component("queue", queue), component("store", store)]
    }
}

fn component(name: &str, outcome: Result<(), String>) -> Component {
    Component { name: name.to_owned(), ok: outcome.is_ok(), detail: outcome.err() }
}
