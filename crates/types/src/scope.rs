//! Who may touch what. Every store, queue, query and cache call takes a scope.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::names::Client;

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Read datasets, clients and traces.
    Read,
    /// Publish events and rows.
    Write,
    /// Request infrastructure.
    Order,
    /// Lease, settle and peek deliveries of queues without a worker.
    Consume,
    /// Define datasets and queues, pause, replay and discard.
    Operate,
    /// Everything, keys included.
    Admin,
}

/// The clients that a scope covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clients {
    /// Every client, those to come included.
    All,
    /// These clients and no other.
    Only(BTreeSet<Client>),
}

/// What one caller may touch: clients, rights and named objects.
///
/// Contract: a component that is handed a scope never returns or changes
/// anything outside it; what is outside looks as if it did not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Who calls, for records and for derived identity: `key:<id>`, a role's
    /// name, or `public`.
    pub principal: Arc<str>,
    /// Which clients.
    pub clients: Clients,
    /// Which rights.
    pub rights: BTreeSet<Right>,
    /// Which objects, as `dataset/<name>` or `queue/<name>`; `None` is all.
    pub objects: Option<BTreeSet<String>>,
}

impl Scope {
    /// The scope of Orderwire's own work under the name of a role.
    pub fn internal(role: &str) -> Self {
        Self { principal: role.into(), clients: Clients::All, rights: [Right::Admin].into(), objects: None }
    }

    /// Whether the caller has this right. `admin` has all.
    pub fn may(&self, right: Right) -> bool {
        self.rights.contains(&right) || self.rights.contains(&Right::Admin)
    }

    /// Whether the client is within the scope.
    pub fn covers(&self, client: &Client) -> bool {
        match &self.clients {
            Clients::All => true,
            Clients::Only(clients) => clients.contains(client),
        }
    }

    /// Whether the object is within the scope; `object` is `dataset/<name>` or
    /// `queue/<name>`.
    pub fn touches(&self, object: &str) -> bool {
        self.objects.as_ref().is_none_or(|objects| objects.contains(object))
    }

    /// The client of a write that names none: the scope's only client, else
    /// `default`.
    pub fn own_client(&self) -> Client {
        match &self.clients {
            Clients::Only(clients) if clients.len() == 1 => {
                clients.iter().next().expect("one client").clone()
            }
            _ => Client::default_client(),
        }
    }

    /// The same scope narrowed to one client, or `None` when it is outside.
    pub fn narrowed_to(&self, client: &Client) -> Option<Self> {
        self.covers(client).then(|| Self { clients: Clients::Only([client.clone()].into()), ..self.clone() })
    }
}
