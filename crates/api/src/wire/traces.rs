//! Traces.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Everything that happened for one trace id.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Trace {
    /// The trace id as it was asked for.
    pub trace_id: String,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// `open` while something is not settled or an order is not finished, `failed`
    /// when something is a dead letter or an order failed, else `done`. What merely
    /// waits in `status` keeps no trace open.
    pub state: String,
    /// The steps, in order.
    pub steps: Vec<TraceStep>,
}

/// What led to a trace, and what it led to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TraceLineage {
    /// The trace id as it was asked for.
    pub trace_id: String,
    /// Events, orders, clients, releases, revisions, resources and traces, by id.
    pub nodes: Vec<LineageNode>,
    /// From what was first to what came of it.
    pub links: Vec<LineageLink>,
    /// Whether a bound left something out.
    pub cut: bool,
}

/// Where something comes from, and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LineageGraph {
    /// What there is, each once.
    pub nodes: Vec<LineageNode>,
    /// From what was first to what came of it.
    pub links: Vec<LineageLink>,
    /// Whether a bound left something out.
    pub cut: bool,
}

/// A node of a lineage.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct LineageNode {
    /// Its kind and what names it: `event/9a2a…`.
    pub id: String,
    /// `event`, `order`, `client`, `release`, `revision`, `resource` or `trace`.
    pub kind: String,
    /// The type of an event, the product of an order, kind and name of a resource, the name of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Its trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The state of an order; of a resource as it was observed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// A link of a lineage.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LineageLink {
    /// The id of a node.
    pub from: String,
    /// The id of the node that came of it.
    pub to: String,
    /// How, in plain words.
    pub what: String,
}

/// One step of a trace.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TraceStep {
    /// When it ended, RFC 3339.
    pub at: String,
    /// Who did it.
    pub role: String,
    /// What.
    pub step: String,
    /// How it went.
    pub outcome: String,
    /// The queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The attempt, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<f64>,
    /// Anything worth knowing, in plain words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
