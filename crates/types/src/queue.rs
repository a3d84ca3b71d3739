//! The definition of a queue, and the queues that exist without configuration.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dataset::Span;
use crate::names::QueueName;
use crate::pattern::Pattern;

/// The two kinds of queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// In order per key, fair over clients, retried, delayed, dead-lettered
    /// one by one.
    #[default]
    Task,
    /// Batches in arrival order to one reader with one committed position.
    Stream,
}

/// What orders the deliveries of a task queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Key {
    /// The producer's key; the client where there is none.
    #[default]
    Partitionkey,
    /// The client.
    Client,
    /// No order: every event is a lane of its own.
    None,
}

/// The form in which consumers get events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A structured CloudEvent.
    #[default]
    Cloudevents,
    /// Message-attributes JSON.
    MessageAttributes,
    /// Flat JSON with a top-level `trace_id`.
    Flat,
}

impl Format {
    /// The form as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cloudevents => "cloudevents",
            Self::MessageAttributes => "message-attributes",
            Self::Flat => "flat",
        }
    }
}

/// How a queue comes to be at a broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Declare {
    /// What is there under the name is used as it is; where nothing is, a plain durable
    /// queue is made, such as other people's code declares it without arguments, so
    /// that such a declaration works before and after.
    Adopt,
    /// A plain durable queue. One that is there with other arguments is a fault.
    Classic,
    /// A queue that survives the loss of a node and of power, where the broker makes a
    /// difference. One that is there with other arguments is a fault.
    #[default]
    Quorum,
}

/// The pause before another attempt: doubles from `first` up to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backoff {
    /// After the first failed attempt.
    pub first: Span,
    /// At most.
    pub last: Span,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Span(Duration::from_secs(1)), last: Span(Duration::from_secs(60)) }
    }
}

impl Backoff {
    /// The pause after this many failed attempts (1 is the first).
    pub fn after(&self, attempts: u32) -> Duration {
        let doubled = self.first.0.saturating_mul(2u32.saturating_pow(attempts.saturating_sub(1)));
        doubled.min(self.last.0)
    }
}

/// The settings of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueDef {
    /// Task or stream.
    #[serde(default)]
    pub kind: Kind,
    /// The patterns of the event types that it takes.
    #[schemars(with = "Vec<String>")]
    pub types: Vec<Pattern>,
    /// What orders its deliveries.
    #[serde(default)]
    pub key: Key,
    /// The form in which consumers get events.
    #[serde(default)]
    pub format: Format,
    /// How many attempts a delivery has before it is dead-lettered.
    #[serde(default = "attempts_default")]
    pub attempts: u32,
    /// The pause between attempts.
    #[serde(default)]
    pub backoff: Backoff,
}

impl QueueDef {
    /// A queue of this kind for these types, with every other setting at its default.
    pub fn new(kind: Kind, types: Vec<Pattern>) -> Self {
        Self {
            kind,
            types,
            key: Key::default(),
            format: Format::default(),
            attempts: attempts_default(),
            backoff: Backoff::default(),
        }
    }
}

fn attempts_default() -> u32 {
    5
}

/// The queues that exist without configuration, `audit` aside, which is off.
pub fn default_queues() -> Vec<(QueueName, QueueDef)> {
    let queue = |name: &str, kind: Kind, types: &[&str]| {
        let types = types.iter().map(|text| text.parse().expect("a pattern")).collect();
        (name.parse().expect("a queue name"), QueueDef::new(kind, types))
    };
    vec![
        queue("infra", Kind::Task, &["*.*.event.*.published", "orderwire.order.requested"]),
        queue("clients", Kind::Task, &["orderwire.client.changed"]),
        queue("data", Kind::Stream, &["orderwire.rows.#"]),
        queue("status", Kind::Task, &["orderwire.order.#"]),
        queue("notify", Kind::Task, &[]),
    ]
}

/// Other names under which a queue is known.
pub fn alias(name: &str) -> &str {
    if name == "event-status" { "status" } else { name }
}
