use orderwire_types::Limits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ByteSize;

/// How much of anything is taken.
// The keys and defaults of `orderwire_types::Limits`, into which it converts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsSettings {
    /// The largest request body.
    pub body_bytes: ByteSize,
    /// The largest single event, envelope included.
    pub event_bytes: ByteSize,
    /// The deepest nesting of a JSON document.
    pub json_depth: u64,
    /// The largest single text value of a row.
    pub field_bytes: ByteSize,
    /// The most entries (events or rows) of one request.
    pub batch_entries: u64,
    /// The most rows of one answer; a cut answer is 206.
    pub rows: u64,
    /// The most bytes of one answer; a cut answer is 206.
    pub answer_bytes: ByteSize,
    /// The most waiting events of one queue; beyond it a publish is 503.
    pub queue_events: u64,
    /// The most deliveries of one lease.
    pub lease_max: u64,
    /// The longest wait of a long poll, in milliseconds.
    pub wait_ms_max: u64,
    /// The longest lease, in milliseconds.
    pub lease_ms_max: u64,
    /// The most requests that are handled at once; beyond it a call is 503.
    pub concurrent_requests: u64,
    /// How many rules in a row may lead to an event; beyond it the delivery of the rule that
    /// would go on becomes a dead letter.
    pub rule_depth: u64,
    /// The most consumers that hold a connection open, server-sent events and
    /// WebSockets together; beyond it one more is 503.
    pub consumer_connections: u64,
    /// The most of these with one key; beyond it one more is 429.
    pub consumer_connections_per_key: u64,
}

impl LimitsSettings {
    /// Every limit with its name, its value and the bounds in which it makes sense.
    pub(crate) fn bounds(&self) -> [(&'static str, u64, u64, u64); 15] {
        const KIB: u64 = 1 << 10;
        const MIB: u64 = 1 << 20;
        [
            ("body_bytes", self.body_bytes.0, KIB, 1 << 30),
            ("event_bytes", self.event_bytes.0, 256, 64 * MIB),
            // serde_json gives up at 128.
            ("json_depth", self.json_depth, 2, 127),
            ("field_bytes", self.field_bytes.0, 1, 64 * MIB),
            ("batch_entries", self.batch_entries, 1, 1_000_000),
            ("rows", self.rows, 1, 100_000_000),
            ("answer_bytes", self.answer_bytes.0, KIB, 4 << 30),
            ("queue_events", self.queue_events, 1, 10_000_000_000),
            ("lease_max", self.lease_max, 1, 10_000),
            ("wait_ms_max", self.wait_ms_max, 1, 600_000),
            ("lease_ms_max", self.lease_ms_max, 1_000, 86_400_000),
            ("concurrent_requests", self.concurrent_requests, 1, 1_000_000),
            ("rule_depth", self.rule_depth, 1, 100),
            ("consumer_connections", self.consumer_connections, 1, 1_000_000),
            ("consumer_connections_per_key", self.consumer_connections_per_key, 1, 1_000_000),
        ]
    }
}

impl Default for LimitsSettings {
    fn default() -> Self {
        let Limits {
            body_bytes,
            event_bytes,
            json_depth,
            field_bytes,
            batch_entries,
            rows,
            answer_bytes,
            queue_events,
            lease_max,
            wait_ms_max,
            lease_ms_max,
            concurrent_requests,
            rule_depth,
            consumer_connections,
            consumer_connections_per_key,
        } = Limits::default();
        Self {
            body_bytes: ByteSize(body_bytes as u64),
            event_bytes: ByteSize(event_bytes as u64),
            json_depth: json_depth as u64,
            field_bytes: ByteSize(field_bytes as u64),
            batch_entries: batch_entries as u64,
            rows: rows as u64,
            answer_bytes: ByteSize(answer_bytes as u64),
            queue_events,
            lease_max: lease_max as u64,
            wait_ms_max,
            lease_ms_max,
            concurrent_requests: concurrent_requests as u64,
            rule_depth: rule_depth.into(),
            consumer_connections: consumer_connections as u64,
            consumer_connections_per_key: consumer_connections_per_key as u64,
        }
    }
}

impl From<&LimitsSettings> for Limits {
    fn from(settings: &LimitsSettings) -> Self {
        // Where usize is narrower, what it can hold is the limit.
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            body_bytes: size(settings.body_bytes.0),
            event_bytes: size(settings.event_bytes.0),
            json_depth: size(settings.json_depth),
            field_bytes: size(settings.field_bytes.0),
            batch_entries: size(settings.batch_entries),
            rows: size(settings.rows),
            answer_bytes: size(settings.answer_bytes.0),
            queue_events: settings.queue_events,
            lease_max: size(settings.lease_max),
            wait_ms_max: settings.wait_ms_max,
            lease_ms_max: settings.lease_ms_max,
            concurrent_requests: size(settings.concurrent_requests),
            rule_depth: u8::try_from(settings.rule_depth).unwrap_or(u8::MAX),
            consumer_connections: size(settings.consumer_connections),
            consumer_connections_per_key: size(settings.consumer_connections_per_key),
        }
    }
}
