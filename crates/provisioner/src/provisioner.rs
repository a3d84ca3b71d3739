//! The provisioner: what it works on, and what it is asked for.

use std::sync::Arc;

use jiff::Timestamp;
use orderwire_config::{Names, TargetSettings};
use orderwire_queue::Clock;
use orderwire_store::Store;
use orderwire_store::orders::Refusal;
use orderwire_types::{Action, Client, EventId, Fault, TraceId};
use serde_json::Value;

use crate::catalogue::Catalogue;
use crate::ports::{Publisher, ReleaseKeys};
use crate::target::Targets;

/// What the provisioner works on.
#[derive(Clone)]
pub struct Parts {
    /// Orders, releases, datasets.
    pub store: Arc<dyn Store>,
    /// What can be ordered.
    pub catalogue: Arc<Catalogue>,
    /// The words of orders.
    pub names: Arc<Names>,
    /// Where releases run.
    pub targets: Arc<Targets>,
    /// The settings of each target, by its name.
    pub target_settings: Arc<std::collections::BTreeMap<String, TargetSettings>>,
    /// The keys of releases.
    pub keys: Arc<dyn ReleaseKeys>,
    /// Where status events go.
    pub publisher: Arc<dyn Publisher>,
    /// The URL of this server, as releases call it.
    pub url: String,
    /// The time.
    pub clock: Clock,
}

/// What is asked for, in the words of whoever asks.
#[derive(Clone, Debug)]
pub struct OrderRequest {
    /// The id of the order: that of the event.
    pub id: EventId,
    /// Its trace.
    pub trace: TraceId,
    /// Whose. The caller has checked the right to order for this client.
    pub client: Client,
    /// The product, by name or alias; `None` for an update or removal of a named
    /// release.
    pub product: Option<String>,
    /// The name of the release.
    pub name: Option<String>,
    /// The release that it has to be; `None` for whichever has the name.
    pub release: Option<uuid::Uuid>,
    /// The environment, by name or alias.
    pub environment: Option<String>,
    /// The archtype, by name or alias.
    pub archtype: Option<String>,
    /// The hardware class, by name or alias.
    pub hardware: Option<String>,
    /// The namespace.
    pub namespace: Option<String>,
    /// The parameters; `None` is none. For an update these are all parameters: one
    /// that is left out has its default again.
    pub parameters: Option<Value>,
    /// What is asked for.
    pub action: Action,
    /// For a roll-back.
    pub to_revision: Option<u64>,
    /// Who asks: a principal.
    pub principal: String,
    /// When it was asked for: its place among the orders of its release.
    pub ordered_at: Timestamp,
    /// How many rules in a row led to it; 0 for an order from outside.
    pub depth: u8,
    /// Whether it comes as an event that was accepted already: then it cannot be
    /// refused any more, and what is wrong with it makes a failed order.
    pub is_event: bool,
}

/// Why an order was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Fields are wrong (422), each with its JSON pointer.
    #[error("{}", .0.first().map_or_else(String::new, ToString::to_string))]
    Invalid(Vec<Fault>),
    /// It contradicts what is there (404, 409).
    #[error(transparent)]
    Refused(Refusal),
    /// The store cannot record it now.
    #[error(transparent)]
    Store(#[from] orderwire_store::Error),
}

/// The provisioner: cheap to clone.
#[derive(Clone)]
pub struct Provisioner {
    pub(crate) parts: Parts,
}

impl Provisioner {
    /// Over these parts.
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// Where releases run.
    pub fn targets(&self) -> &Arc<Targets> {
        &self.parts.targets
    }
}
