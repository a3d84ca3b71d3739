//! Endpoints that events are posted to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An endpoint and how it is doing.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ForwardInfo {
    /// Its name.
    pub name: String,
    /// Where events are posted, without path and query, which may be a credential: `https://shop.example/…`.
    pub url: String,
    /// The patterns of the event types that it gets.
    pub types: Vec<String>,
    /// The clients whose events it gets; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Vec<String>>,
    /// The form in which it gets events.
    pub format: String,
    /// Its queue.
    pub queue: String,
    /// `closed`: events are posted. `open`: the endpoint is away, nothing is posted for a
    /// while. `half_open`: one event is tried.
    pub breaker: String,
    /// When it is tried again, while it is `open`, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_at: Option<String>,
    /// Failures since the last success.
    pub failures: u32,
    /// Events that it took since the server started.
    pub delivered: u64,
    /// Attempts that failed since the server started.
    pub failed: u64,
    /// When the last attempt began, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<String>,
    /// Why the last failed attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Events that wait for it, those under way among them.
    pub waiting: u64,
    /// Dead letters of its queue.
    pub dead: u64,
}

/// An attempt to post an event to an endpoint.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ForwardDelivery {
    /// Its place in the log of the endpoint.
    pub id: String,
    /// When it began, RFC 3339.
    pub at: String,
    /// The event; also the header `webhook-id`.
    pub event_id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Whose it is.
    pub client: String,
    /// Its trace.
    pub trace_id: String,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// `delivered`; `retry`: it failed, and the queue decides about another attempt;
    /// `failed`: for good.
    pub outcome: String,
    /// The status of the answer, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it failed, and what the endpoint said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
}

/// What became of a sample event.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ForwardTested {
    /// Where it was posted, without path and query, which may be a credential.
    pub url: String,
    /// Its id; also the header `webhook-id`.
    pub event_id: String,
    /// `delivered`, `retry` or `failed`.
    pub outcome: String,
    /// The status of the answer, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The beginning of the answer's body.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
}
