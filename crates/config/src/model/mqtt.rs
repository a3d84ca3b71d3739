use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use orderwire_types::dataset::Span;
use orderwire_types::topic::{TopicPattern, TopicText};
use orderwire_types::{ColumnName, DatasetName, Label, Right};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::queues::PrincipalSettings;
use crate::secret::Secret;

/// A connection to an MQTT broker, and what its topics mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mqtt {
    /// Where the broker is: `mqtt://HOST:PORT`, or `mqtts://HOST:PORT` over TLS; the port is
    /// 1883, over TLS 8883, by default. Credentials belong into `user` and `password`.
    pub url: String,
    /// Our name at the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The password of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// The version of MQTT: `5` (the default) or `3.1.1`.
    #[serde(default)]
    pub version: MqttVersion,
    /// A file of certificates (PEM) that the broker's is checked against, instead of the
    /// system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// By which name the broker knows us and keeps what we missed: of one installation alone.
    /// By default `orderwire-`, the name of the connection, `-`, and the beginning of the store's
    /// name, which outlives restarts and is the same for all servers that share a store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// After this time of silence each side asks whether the other is there, 5s to 18h.
    #[serde(default = "keep_alive_default")]
    pub keep_alive: Span,
    /// For how long the broker keeps what we miss while we are away, 0s to 36500d; 0s: not
    /// at all. With 3.1.1 the broker's own settings say for how long.
    #[serde(default = "session_default")]
    pub session: Span,
    /// Whose the messages are: the principal is `mqtt:` and the name of the connection.
    #[serde(default)]
    pub principal: PrincipalSettings,
    /// What the topics mean. The first that matches the topic of a message decides.
    pub topics: Vec<TopicMapping>,
}

/// A version of MQTT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MqttVersion {
    /// MQTT 5.0.
    #[default]
    #[serde(rename = "5")]
    V5,
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V3,
}

/// What the messages of a topic mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicMapping {
    /// The topic: `{name}` is one level with a name, `+` one without, `#` at the end any
    /// number of levels: `plants/{client}/{station}/air`.
    #[schemars(with = "String")]
    pub topic: TopicPattern,
    /// The type of the events, which may hold `{names}`: `plant.{station}.measured`. Without
    /// `type` and `dataset` each message has to say its own.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub event_type: Option<TopicText>,
    /// The dataset of which the messages are rows: an object or an array of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub dataset: Option<DatasetName>,
    /// What rows get that have no such column of their own, by column:
    /// `{id_entity: "{station}"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub columns: BTreeMap<ColumnName, TopicText>,
    /// Whose the events are; may hold `{names}`. A message that names another client is
    /// refused. Without it a message may name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub client: Option<TopicText>,
    /// What orders the deliveries of events that say no key of their own; may hold `{names}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub key: Option<TopicText>,
    /// 1 (the default): each message comes at least once; 0: at most once.
    #[serde(default = "qos_default")]
    pub qos: u8,
}

fn keep_alive_default() -> Span {
    Span(Duration::from_secs(30))
}

fn session_default() -> Span {
    Span(Duration::from_secs(86_400))
}

fn qos_default() -> u8 {
    1
}

impl Mqtt {
    /// The client id at the broker. `installation`: what tells those of this installation from
    /// those of others.
    pub fn client_id(&self, name: &Label, installation: &str) -> String {
        self.client_id.clone().unwrap_or_else(|| format!("orderwire-{name}-{installation}"))
    }

    /// What its messages may do.
    pub fn rights(&self) -> Vec<Right> {
        self.principal.rights.clone().unwrap_or_else(|| vec![Right::Write])
    }
}
