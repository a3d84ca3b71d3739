//! The event: an immutable JSON fact with an envelope.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{EventId, TraceId};
use crate::json::RawJson;
use crate::names::{Client, EventType};

/// One event as it is inside, whichever of the three forms it came in.
///
/// Its serde form is the storage format of the queue: fields may be added with
/// a default, none may change its meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Identity, see [`crate::identity`].
    pub id: EventId,
    /// What kind of fact it is; queues are bound to it by patterns.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// Who says so: a URI reference.
    pub source: String,
    /// The tenant.
    pub client: Client,
    /// The producer's ordering key (CloudEvents `partitionkey`), if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When it happened, as the producer spelled it (`published_on` or `time`);
    /// filled in from `accepted_at` on the way out when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The trace that it belongs to.
    pub trace: TraceId,
    /// The producer's attempt counter (`retrace_intent`), as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    /// The event that caused this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<EventId>,
    /// When Orderwire accepted it.
    pub accepted_at: Timestamp,
    /// Who published it: the principal of the scope.
    pub principal: String,
    /// Whether the principal had the right to order for this client when the event
    /// was accepted. Without it the event is no request for infrastructure,
    /// whatever its shape.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_order: bool,
    /// How many rules in a row led to it: 0 for an event from outside, one more than its
    /// cause has for an event that a rule emitted. What tells of an order has the order's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub depth: u8,
    /// Where its rows stand in an imported file, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<ImportedLines>,
    /// What only the incoming form knows, kept for an exact way out.
    #[serde(default)]
    pub origin: Origin,
    /// The payload.
    #[serde(default)]
    pub data: Data,
}

/// A piece of an imported file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedLines {
    /// The SHA-256 of the whole file, as lower-case hex.
    pub file: String,
    /// The number of rows of the file before this piece.
    pub first: u64,
}

/// What only the incoming form knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Plain JSON on a typed path, or made by Orderwire.
    #[default]
    Plain,
    /// Flat JSON from a broker queue; `data` holds the whole object.
    Flat,
    /// Message-attributes JSON. Here are the members that have no field of
    /// their own; `data` holds the business members.
    MessageAttributes {
        /// The `Metadata` object as given.
        metadata: Option<RawJson>,
        /// Attributes beside the four known ones, as given, in their order; of
        /// the known ones those whose spelling is not the usual one.
        attributes: Vec<(String, RawJson)>,
    },
    /// A CloudEvent.
    CloudEvent {
        /// The producer's `id`.
        id: String,
        /// Context attributes without a field of their own, as given:
        /// `subject`, `datacontenttype`, `dataschema`, `tracestate`, extensions;
        /// of those with a field the ones whose spelling is not the usual one.
        attributes: Vec<(String, RawJson)>,
    },
}

/// The payload of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// None at all.
    #[default]
    None,
    /// JSON, digit for digit.
    Json(RawJson),
    /// Other bytes, as base64 (CloudEvents `data_base64`).
    Base64(String),
}

impl Data {
    /// Bytes that are no JSON.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self::Base64(STANDARD.encode(bytes))
    }
}

fn is_zero(depth: &u8) -> bool {
    *depth == 0
}

impl Event {
    /// The key that orders deliveries: the producer's, else the client.
    pub fn order_key(&self) -> &str {
        self.key.as_deref().unwrap_or(self.client.as_str())
    }

    /// The product that the event is about: the non-empty string `product` of
    /// its JSON data. Only such an event can be a request for infrastructure.
    pub fn product(&self) -> Option<String> {
        let Data::Json(json) = &self.data else { return None };
        if !json.get().starts_with('{') {
            return None;
        }
        crate::envelope::member_text(json.get(), "product").filter(|product| !product.is_empty())
    }

    /// The storage form.
    pub fn encode(&self) -> Vec<u8> {
        let data = match &self.data {
            Data::None => 0,
            Data::Json(json) => json.get().len(),
            Data::Base64(text) => text.len(),
        };
        // Few envelopes are longer, so that few grow while they are written.
        let mut out = Vec::with_capacity(data + 768);
        serde_json::to_writer(&mut out, self).expect("an event is serialisable: its maps have string keys");
        out
    }

    /// Reads the storage form.
    ///
    /// # Errors
    /// When the bytes are damaged or of a later format.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}
