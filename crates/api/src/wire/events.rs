//! Accepted events.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::ProblemError;

/// 202: the event is durable.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// The event's id.
    pub event_id: String,
    /// The trace that it belongs to.
    pub trace_id: String,
    /// The queues that took it.
    pub queues: Vec<String>,
    /// Where its trace is found.
    pub status_url: String,
    /// True when the event came before, so that nothing was put on a queue now;
    /// `queues` then are those that take such an event at present. Not said of a
    /// request with an `Idempotency-Key`, whose answer stays the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
}

/// 202: a batch is durable; or its part without faults, with `on_error=skip`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchAccepted {
    /// Entries accepted.
    pub accepted: u64,
    /// Entries refused.
    pub rejected: u64,
    /// The trace of the request.
    pub trace_id: String,
    /// What was wrong with the refused ones, the first thousand.
    pub errors: Vec<ProblemError>,
    /// The event that carries the rows, where they travel as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Where the trace is found, unless nothing was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_url: Option<String>,
}
