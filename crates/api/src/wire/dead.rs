//! Dead letters.

use serde::{Deserialize, Deserializer, Serialize};
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
    /// Names the content as it is, for the header `If-Match` of an edit, there in
    /// quotes; only when one letter is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
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
    /// Of a replay: at most so many letters per second, 1 to 10000. It is answered
    /// with 202 then, and goes on by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
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

/// `PATCH /v1/dead/{id}`: other data for the event of a dead letter, as JSON or as
/// bytes, whichever it has.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeadEdit {
    /// The data: any JSON value, kept digit for digit.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Box<RawValue>>,
    /// Or bytes, in standard base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
    /// Why, for the trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A member that is there, also as `null`.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(deserializer).map(Some)
}

/// A replay at a rate.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Replay {
    /// Its id. A restart of the server forgets it: what was put back stays, the rest
    /// are still dead letters.
    pub replay_id: String,
    /// `running`, `done`, `cancelled` or `failed`.
    pub state: String,
    /// Letters per second, at most.
    pub rate: u32,
    /// How many letters it selected; null until they are counted.
    pub matched: Option<u64>,
    /// How many of them it has put back; in the end fewer than matched when others
    /// replayed or discarded some.
    pub done: u64,
    /// Which letters.
    pub filter: DeadSelector,
    /// How many were named by their ids, if any were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<u64>,
    /// Who asked.
    pub principal: String,
    /// When it began.
    pub started_at: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where to ask for it.
    pub status_url: String,
}
