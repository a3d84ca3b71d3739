//! Queues, leases and settlements.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// The state of a queue.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct QueueInfo {
    /// Its name.
    pub name: String,
    /// `task` or `stream`.
    pub kind: String,
    /// Deliveries that may be leased now, or as soon as those before them of the same key are settled.
    pub ready: u64,
    /// Deliveries under a lease.
    pub in_flight: u64,
    /// Deliveries that wait for their next attempt.
    pub delayed: u64,
    /// Dead letters.
    pub dead: u64,
    /// The age of the oldest unsettled event, in milliseconds; 0 when there is none.
    pub oldest_age_ms: u64,
    /// The patterns of the event types that it takes.
    pub types: Vec<String>,
    /// Whether it hands out no leases.
    pub paused: bool,
    /// The worker role that handles it, if one does; such a queue cannot be leased from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// What orders its deliveries: `partitionkey`, `client` or `none`.
    pub key: String,
    /// The form in which consumers get events.
    pub format: String,
    /// How many attempts a delivery has.
    pub attempts: u32,
}

/// `POST /v1/queues`: a queue that is made by a call.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewQueue {
    /// Its name.
    pub name: String,
    /// Its settings, flat beside the name.
    #[serde(default)]
    pub kind: Option<String>,
    /// The patterns of the event types that it takes.
    pub types: Vec<String>,
    /// `partitionkey` (default), `client` or `none`.
    #[serde(default)]
    pub key: Option<String>,
    /// `cloudevents` (default), `message-attributes` or `flat`.
    #[serde(default)]
    pub format: Option<String>,
    /// How many attempts a delivery has (default 5).
    #[serde(default)]
    pub attempts: Option<u32>,
}

/// `POST /v1/queues/{q}/lease`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LeaseRequest {
    /// At most this many deliveries.
    pub max: u32,
    /// How long to wait when there is none, in milliseconds.
    pub wait_ms: u64,
    /// How long the lease lasts, in milliseconds.
    pub lease_ms: u64,
}

impl Default for LeaseRequest {
    fn default() -> Self {
        Self { max: 1, wait_ms: 0, lease_ms: 30_000 }
    }
}

/// The answer to a lease.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Leased {
    /// The deliveries, in order; those of one key are successive.
    pub deliveries: Vec<LeasedDelivery>,
}

/// One delivery under a lease.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LeasedDelivery {
    /// What settles it.
    pub delivery_id: String,
    /// The attempt, from 1.
    pub attempt: u32,
    /// When the lease runs out, RFC 3339.
    pub leased_until: String,
    /// The event in the queue's format.
    #[schema(value_type = Object)]
    pub event: Box<RawValue>,
}

/// One waiting delivery, looked at without a lease.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Peeked {
    /// The attempts so far.
    pub attempts: u32,
    /// The event in the queue's format.
    #[schema(value_type = Object)]
    pub event: Box<RawValue>,
}

/// `POST /v1/queues/{q}/ack`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AckRequest {
    /// What is done.
    pub delivery_ids: Vec<String>,
}

/// `POST /v1/queues/{q}/nack`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NackRequest {
    /// What is to be tried again.
    pub delivery_ids: Vec<String>,
    /// After this pause, in milliseconds, instead of the queue's back-off.
    #[serde(default)]
    pub delay_ms: Option<u64>,
    /// Why, in plain words.
    #[serde(default)]
    pub cause: Option<String>,
    /// Dead-letter at once: trying again cannot help.
    #[serde(default)]
    pub fail: bool,
}

/// `POST /v1/queues/{q}/extend`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendRequest {
    /// What is still being worked on.
    pub delivery_ids: Vec<String>,
    /// The lease lasts this long from now, in milliseconds.
    pub lease_ms: u64,
}

/// What became of a settlement. 200 when every delivery was settled, 409 when
/// one was not.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SettleResult {
    /// How many were settled.
    pub settled: u64,
    /// Those that were not, and why.
    pub errors: Vec<SettleError>,
}

/// A delivery that could not be settled.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SettleError {
    /// The delivery.
    pub delivery_id: String,
    /// Why: the lease ran out, or it was settled before.
    pub detail: String,
}

/// What a consumer says on a WebSocket: one of `credit`, `ack`, `nack` and `extend`
/// a message, with what belongs to it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerMessage {
    /// So many more deliveries are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<u32>,
    /// These are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack: Option<Vec<String>>,
    /// These are to be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nack: Option<Vec<String>>,
    /// Of `nack`: after this pause, in milliseconds, instead of the queue's back-off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Of `nack`: why, in plain words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Of `nack`: dead-letter at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail: Option<bool>,
    /// These are still being worked on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extend: Option<Vec<String>>,
    /// Of `extend`: the lease lasts this long from now, in milliseconds; without it
    /// as long as those of the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
}

/// What the server says to a consumer on a WebSocket.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerMessage {
    /// A delivery, against one credit.
    Delivery(LeasedDelivery),
    /// What the last message did not do, and why. The connection goes on unless it is
    /// closed right after.
    Error(crate::Problem),
    /// The answer to an `ack`.
    #[serde(untagged)]
    Acked {
        /// These are done.
        acked: Vec<String>,
        /// These could not be settled.
        errors: Vec<SettleError>,
    },
    /// The answer to a `nack`.
    #[serde(untagged)]
    Nacked {
        /// These come again, or are dead letters.
        nacked: Vec<String>,
        /// These could not be settled.
        errors: Vec<SettleError>,
    },
    /// The answer to an `extend`.
    #[serde(untagged)]
    Extended {
        /// The leases of these are extended.
        extended: Vec<String>,
        /// These could not be extended.
        errors: Vec<SettleError>,
    },
}
