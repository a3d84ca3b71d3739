//! Whether every part works.

use std::sync::Arc;

use async_trait::async_trait;
use orderwire_broker::Broker;
use orderwire_gateway::{Component, Readiness};
use orderwire_queue::Queues;
use orderwire_store::Store;
use orderwire_transport::Spool;

/// The parts of a server.
pub(crate) struct Parts {
    pub(crate) queues: Queues,
    pub(crate) store: Arc<dyn Store>,
    /// Where there is one.
    pub(crate) broker: Option<Arc<dyn Broker>>,
    /// What is kept while the broker is away.
    pub(crate) spool: Option<Arc<Spool>>,
}

#[async_trait]
impl Readiness for Parts {
    async fn components(&self) -> Vec<Component> {
        let queue = self.queues.health().map_err(|error| error.to_string());
        // A look-up of a reader that always exists, within the store's own time limit.
        let store = self.store.position("data").await.map(drop).map_err(|error| error.to_string());
        let mut components = vec![component("queue", queue), component("store", store)];
        if let Some(broker) = &self.broker {
            components.push(broker_component(broker.as_ref(), self.spool.as_deref()).await);
        }
        components
    }
}

/// A broker that is away is told; it is no reason to send callers elsewhere for as long as
/// the spool takes their events.
async fn broker_component(broker: &dyn Broker, spool: Option<&Spool>) -> Component {
    let waiting = spool.map_or(0, Spool::len);
    let detail = match broker.check().await {
        Ok(()) if waiting == 0 => return component("broker", Ok(())),
        Ok(()) => format!("{waiting} events of the spool are on their way"),
        Err(error) if spool.is_none() => return component("broker", Err(error.to_string())),
        Err(error) => format!("{error}; {waiting} events wait in the spool"),
    };
    Component { name: "broker".to_owned(), ok: true, detail: Some(detail) }
}

fn component(name: &str, outcome: Result<(), String>) -> Component {
    Component { name: name.to_owned(), ok: outcome.is_ok(), detail: outcome.err() }
}
