//! How much of anything is taken. Every limit has a default that suits a laptop.

use serde::{Deserialize, Serialize};

/// The limits of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The largest request body, in bytes.
    pub body_bytes: usize,
    /// The largest single event, envelope included, in bytes.
    pub event_bytes: usize,
    /// The deepest nesting of a JSON document.
    pub json_depth: usize,
    /// The largest single text value of a row, in bytes.
    pub field_bytes: usize,
    /// The most entries (events or rows) of one request.
    pub batch_entries: usize,
    /// The most rows of one answer; a cut answer is 206.
    pub rows: usize,
    /// The most bytes of one answer; a cut answer is 206.
    pub answer_bytes: usize,
    /// The most waiting events of one queue; beyond it a publish is 503.
    pub queue_events: u64,
    /// The most deliveries of one lease.
    pub lease_max: usize,
    /// The longest wait of a long poll, in milliseconds.
    pub wait_ms_max: u64,
    /// The longest lease, in milliseconds.
    pub lease_ms_max: u64,
    /// The most requests that are handled at once; beyond it a call is 503.
    pub concurrent_requests: usize,
    /// How many rules in a row may lead to an event; beyond it a rule's delivery fails.
    pub rule_depth: u8,
    /// The most consumers that hold a connection open, server-sent events and
    /// WebSockets together; beyond it one more is 503.
    pub consumer_connections: usize,
    /// The most of these with one key; beyond it one more is 429.
    pub consumer_connections_per_key: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 8 << 20,
            event_bytes: 1 << 20,
            json_depth: 64,
            field_bytes: 256 << 10,
            batch_entries: 10_000,
            rows: 1_000_000,
            answer_bytes: 64 << 20,
            queue_events: 50_000_000,
            lease_max: 1_000,
            wait_ms_max: 60_000,
            lease_ms_max: 3_600_000,
            concurrent_requests: 4_096,
            rule_depth: 8,
            consumer_connections: 1_000,
            consumer_connections_per_key: 100,
        }
    }
}
