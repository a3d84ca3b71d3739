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
