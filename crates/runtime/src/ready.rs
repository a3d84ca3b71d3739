//! Whether every part works.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use orderwire_broker::Broker;
use orderwire_gateway::{Component, Readiness};
use orderwire_queue::Queues;
use orderwire_store::Store;
use orderwire_transport::{Spool, Topology};

use crate::mqtt::Health;

/// How long the store may take to tell that it writes.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// The parts of a server.
pub(crate) struct Parts {
    pub(crate) queues: Queues,
    pub(crate) store: Arc<dyn Store>,
    /// Where there is one.
    pub(crate) broker: Option<Arc<dyn Broker>>,
    /// What is kept while the broker is away.
    pub(crate) spool: Option<Arc<Spool>>,
    /// The queues at the broker.
    pub(crate) topology: Option<Arc<Topology>>,
    /// Known once its connections are started, which need the gateway that asks here.
    pub(crate) mqtt: OnceLock<Health>,
}

#[async_trait]
impl Readiness for Parts {
    async fn components(&self) -> Vec<Component> {
        let queue = self.queues.health().map_err(|error| error.to_string());
        // A look-up of a reader that always exists, behind what is being written.
        let store = match tokio::time::timeout(STORE_TIMEOUT, self.store.position("data")).await {
            Ok(position) => position.map(drop).map_err(|error| error.to_string()),
            Err(_) => Err(format!("what is handed over is not written within {STORE_TIMEOUT:?}")),
        };
        let mut components = vec![component("queue", queue), component("store", store)];
        if let Some(broker) = &self.broker {
            let faults = [
                broker.check().await.err().map(|error| error.to_string()),
                self.topology.as_ref().and_then(|topology| topology.fault()),
            ];
            components.push(broker_component(faults, self.spool.as_deref()));
        }
        // A broker of MQTT that is away is told: its messages wait there.
        components.extend(
            self.mqtt.get().into_iter().flat_map(Health::details).map(|(name, detail)| Component {
                name: format!("mqtt:{name}"),
                ok: true,
                detail,
            }),
        );
        components
    }
}

/// A broker that is away, or refuses a queue, is told; it is no reason to send callers
/// elsewhere for as long as the spool takes their events.
fn broker_component(faults: [Option<String>; 2], spool: Option<&Spool>) -> Component {
    let fault = faults.into_iter().flatten().next();
    let waiting = spool.map_or(0, Spool::len);
    let is_full = spool.is_some_and(Spool::is_full);
    let ok = if spool.is_some() { !is_full } else { fault.is_none() };
    let mut detail = match fault {
        None if waiting == 0 => None,
        None => Some(format!("{waiting} events of the spool are on their way")),
        Some(fault) if spool.is_none() => Some(fault),
        Some(fault) => Some(format!("{fault}; {waiting} events wait in the spool")),
    };
    if let (Some(detail), true) = (&mut detail, is_full) {
        detail.push_str(", which is full");
    }
    Component { name: "broker".to_owned(), ok, detail }
}

fn component(name: &str, outcome: Result<(), String>) -> Component {
    Component { name: name.to_owned(), ok: outcome.is_ok(), detail: outcome.err() }
}
