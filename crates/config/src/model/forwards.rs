//! Endpoints of other systems that get events by HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use orderwire_types::dataset::Span;
use orderwire_types::queue::{Backoff, Format, Key, Kind, QueueDef};
use orderwire_types::{Label, Pattern, QueueName};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Clients;
use crate::secret::Secret;

/// What the queue of an endpoint is called, before the endpoint's name.
const PREFIX: &str = "forward-";

/// An endpoint that gets events by HTTP, signed after Standard Webhooks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForwardSettings {
    /// Where events are posted: `https://shop.example/hooks`. Credentials belong into `headers`.
    pub url: String,
    /// The patterns of the event types that it gets: `*` is one word, `#` any number.
    #[schemars(with = "Vec<String>")]
    pub types: Vec<Pattern>,
    /// Whose events it gets: `all`, or these clients.
    #[serde(default = "all_clients")]
    pub clients: Clients,
    /// What orders its events: those of one key are posted one after the other.
    #[serde(default)]
    pub key: Key,
    /// The form in which it gets events.
    #[serde(default)]
    pub format: Format,
    /// The secret that signs: `whsec_…`, or any text or bytes of 24 bytes and more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// Instead of `secret`, while it is changed: the new one, then the old one. Each signs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// Further headers. A value may be a secret, a credential must be one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderText>,
    /// How long the endpoint has to answer, 100ms to 1m.
    #[serde(default = "timeout_default")]
    pub timeout: Span,
    /// How many events are posted at once, 1 to 64.
    #[serde(default = "concurrency_default")]
    pub concurrency: u32,
    /// The most posts a second, 1 to 10000; without it as many as the endpoint takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// How many attempts an event has before it is dead-lettered, 1 to 1000.
    #[serde(default = "attempts_default")]
    pub attempts: u32,
    /// The pause between attempts at one event.
    #[serde(default)]
    pub backoff: ForwardBackoff,
    /// Whether the address may be one of this machine or of a private network.
    #[serde(default)]
    pub allow_private: bool,
    /// When nothing is posted for a while, because the endpoint is away.
    #[serde(default)]
    pub breaker: BreakerSettings,
    /// How many attempts the delivery log keeps, 1 to 1000000; the oldest go first.
    #[serde(default = "log_default")]
    pub log: u64,
}

/// The pause before another attempt: doubles from `first` up to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ForwardBackoff {
    /// After the first failed attempt.
    pub first: Span,
    /// At most, up to 1d.
    pub last: Span,
}

impl Default for ForwardBackoff {
    fn default() -> Self {
        Self { first: seconds(5), last: seconds(3_600) }
    }
}

/// When an endpoint counts as away, and for how long nothing is posted then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerSettings {
    /// So many failures in a row, 1 to 1000.
    pub failures: u32,
    /// The first pause, 100ms to 1h. After it one event is tried; each time that fails
    /// the next pause is twice as long.
    pub pause: Span,
    /// The longest pause, up to 1d.
    pub pause_max: Span,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures: 5, pause: seconds(30), pause_max: seconds(300) }
    }
}

fn seconds(seconds: u64) -> Span {
    Span(Duration::from_secs(seconds))
}

fn all_clients() -> Clients {
    Clients::All
}

fn timeout_default() -> Span {
    seconds(10)
}

fn concurrency_default() -> u32 {
    4
}

fn attempts_default() -> u32 {
    20
}

fn log_default() -> u64 {
    10_000
}

impl ForwardSettings {
    /// The secrets that sign, the newest first.
    pub fn signing_secrets(&self) -> impl Iterator<Item = &Secret> {
        self.secret.iter().chain(&self.secrets)
    }

    fn queue(&self) -> QueueDef {
        QueueDef {
            kind: Kind::Task,
            types: self.types.clone(),
            key: self.key,
            format: self.format,
            attempts: self.attempts,
            backoff: Backoff { first: self.backoff.first, last: self.backoff.last },
        }
    }
}

/// The queue of the endpoint of this name; none for a name that is too long for it,
/// which no checked configuration has.
pub fn forward_queue(name: &Label) -> Option<QueueName> {
    format!("{PREFIX}{name}").parse().ok()
}

/// The queues of endpoints, by name.
pub(crate) fn definitions(
    forwards: &BTreeMap<Label, ForwardSettings>,
) -> impl Iterator<Item = (QueueName, QueueDef)> {
    forwards.iter().filter_map(|(name, forward)| Some((forward_queue(name)?, forward.queue())))
}

/// The value of a header: itself, or where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderText {
    /// The value itself.
    Plain(String),
    /// A secret.
    Secret(Secret),
}

impl Serialize for HeaderText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(text) => serializer.serialize_str(text),
            Self::Secret(secret) => secret.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for HeaderText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if Secret::is_meant_by(&text) {
            text.parse().map(Self::Secret).map_err(de::Error::custom)
        } else {
            Ok(Self::Plain(text))
        }
    }
}

impl JsonSchema for HeaderText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HeaderText".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "the value, or where a secret is: ${NAME} (an environment variable) or file:/path"
        })
    }
}
