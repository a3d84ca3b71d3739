//! Dead letters.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

/// A dead letter.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// Its id.
    pub id: String,
    /// The queue that gave up.
    pub queue: String,
    /// The event's id.
    pub event_id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Whose it is.
    pub client: String,
    /// Its trace.
    pub trace_id: String,
    /// How many attempts it had.
    pub attempts: u32,
    /// The last cause.
    pub cause: String,
    /// When it was dead-lettered.
    pub died_at: String,
    /// The event as a CloudEvent; only when one letter is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub event: Option<Box<RawValue>>,
}

/// Which dead letters; every given condition must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct DeadSelector {
    /// Of this queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Of this event type, a pattern.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// Of this client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Whose cause contains this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Dead-lettered at or after, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Dead-lettered before, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// `POST /v1/dead/replay` and `/discard`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeadAction {
    /// These letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<String>>,
    /// Or all that match. `{}` is all; neither `ids` nor `filter` is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<DeadSelector>,
    /// Only count.
    pub dry_run: bool,
    /// Why, for the trace; wanted by discard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What an action did, or would do.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadCount {
    /// Letters replayed or discarded; those that match, with `dry_run`.
    pub count: u64,
    /// Whether nothing was changed.
    pub dry_run: bool,
}
