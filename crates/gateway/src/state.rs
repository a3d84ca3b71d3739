//! What every handler has at hand.

use std::sync::Arc;

use orderwire_api::extract::Bodies;
use orderwire_api::places::Places;
use orderwire_queue::{Clock, Queues};
use orderwire_store::Store;
use orderwire_types::Limits;

use crate::announce::KnownClients;
use crate::asyncapi::BrokerView;
use crate::causes::Causes;
use crate::consume::HandedOut;
use crate::health::Readiness;
use crate::keys::KeyRing;
use crate::publish::Outlet;
use crate::rest::{NoReadback, Readback};
use crate::rows::Readers;

/// What the gateway works on.
#[derive(Clone)]
pub struct Gateway {
    /// The queues.
    pub queues: Queues,
    /// The way of events to their queues.
    pub outlet: Arc<dyn Outlet>,
    /// The broker, if there is one.
    pub broker: Option<BrokerView>,
    /// Datasets, clients, keys and the traces of workers.
    pub store: Arc<dyn Store>,
    /// Where it is noted what caused events.
    pub causes: Causes,
    /// Who may call.
    pub keys: Arc<KeyRing>,
    /// Whether the server is ready.
    pub readiness: Arc<dyn Readiness>,
    /// The time.
    pub clock: Clock,
    /// How much is taken.
    pub limits: Limits,
    /// The places of consumers that hold a connection open. A server that goes down
    /// waits until they are vacant.
    pub connections: Arc<Places>,
}

/// The gateway and what it remembers.
pub(crate) struct State {
    pub(crate) gateway: Gateway,
    pub(crate) known_clients: KnownClients,
    pub(crate) readers: Readers,
    pub(crate) handed_out: HandedOut,
    pub(crate) readback: Arc<dyn Readback>,
    bodies: Bodies,
}

/// The state as handlers get it.
pub(crate) type Shared = Arc<State>;

impl State {
    /// For what is not asked for rows.
    pub(crate) fn new(gateway: Gateway) -> Shared {
        Self::reading_back(gateway, None)
    }

    pub(crate) fn reading_back(gateway: Gateway, readback: Option<Arc<dyn Readback>>) -> Shared {
        Arc::new(Self {
            readback: readback.unwrap_or_else(|| Arc::new(NoReadback)),
            bodies: Bodies::new(gateway.limits.body_bytes, &gateway.limits),
            known_clients: KnownClients::default(),
            readers: Readers::default(),
            handed_out: HandedOut::new(),
            gateway,
        })
    }

    pub(crate) fn queues(&self) -> &Queues {
        &self.gateway.queues
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.gateway.store.as_ref()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.gateway.limits
    }

    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.gateway.clock.now()
    }
}

impl AsRef<Bodies> for State {
    fn as_ref(&self) -> &Bodies {
        &self.bodies
    }
}
