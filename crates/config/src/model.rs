//! The structure of the configuration: plain values with their defaults.

mod broker;
mod forwards;
mod limits;
mod mqtt;
mod orders;
mod queues;
mod rules;
mod store;
mod values;
mod views;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use orderwire_types::dataset::{DatasetDef, Span};
use orderwire_types::queue::QueueDef;
use orderwire_types::{DatasetName, Label, QueueName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

pub use broker::{Broker, BrokerUrl, NatsSettings, Spool};
pub(crate) use forwards::definitions as forward_definitions;
pub use forwards::{BreakerSettings, ForwardBackoff, ForwardSettings, HeaderText, forward_queue};
pub use limits::LimitsSettings;
pub use mqtt::{Mqtt, MqttVersion, TopicMapping};
pub(crate) use orders::{ARCHTYPES, DEFAULT, ENVIRONMENTS, HARDWARE, LOCAL, PLACEHOLDERS};
pub use orders::{Environment, Names, Products, TargetKind, TargetSettings, Word};
pub(crate) use queues::{AUDIT, INTAKE, base};
pub use queues::{BackoffSettings, BrokerQueue, PrincipalSettings, QueueSettings};
pub use rules::{Emission, RULES_QUEUE, Rule};
pub(crate) use store::SQLITE;
pub use store::Store;
pub use values::ByteSize;
pub use views::{Clients, Freshness, Param, Read, Scalar, Shape, View};

/// The whole configuration. Every key is optional; unknown keys are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address and port to listen on; port 0 takes a free one.
    #[schemars(with = "String")]
    #[serde(with = "values::address")]
    pub listen: SocketAddr,
    /// The folder that holds everything: queues, tables, the first key.
    pub data: PathBuf,
    /// Where queues and tables are kept.
    pub store: Store,
    /// Where answers are kept ready.
    pub cache: Cache,
    /// The outside transport between producers and Orderwire.
    pub broker: Broker,
    /// Connections to MQTT brokers that are subscribed to, by name.
    #[schemars(with = "BTreeMap<String, Mqtt>")]
    pub mqtt: BTreeMap<Label, Mqtt>,
    /// Settings of the queues that exist anyway, and further queues, by name.
    #[schemars(with = "BTreeMap<String, QueueSettings>")]
    pub queues: BTreeMap<QueueName, QueueSettings>,
    /// Datasets that are created at start, by name.
    #[schemars(with = "BTreeMap<String, DatasetDef>")]
    pub datasets: BTreeMap<DatasetName, DatasetDef>,
    /// Cached, shaped reads of a dataset under a path of their own, by name.
    pub views: BTreeMap<String, View>,
    /// Endpoints of other systems that get events by HTTP, by name.
    #[schemars(with = "BTreeMap<String, ForwardSettings>")]
    pub forwards: BTreeMap<Label, ForwardSettings>,
    /// Events that are emitted when others come, by name.
    #[schemars(with = "BTreeMap<String, Rule>")]
    pub rules: BTreeMap<Label, Rule>,
    /// What can be ordered.
    pub products: Products,
    /// Where releases run, by name. `local`, processes of this machine, exists anyway.
    #[schemars(with = "BTreeMap<String, TargetSettings>")]
    pub targets: BTreeMap<Label, TargetSettings>,
    /// Environments beside those that exist anyway, and settings of these, by name;
    /// `default` is what each has unless it says otherwise.
    #[schemars(with = "BTreeMap<String, Environment>")]
    pub environments: BTreeMap<Label, Environment>,
    /// Archtypes beside those that exist anyway, by name.
    #[schemars(with = "BTreeMap<String, Word>")]
    pub archtypes: BTreeMap<Label, Word>,
    /// Hardware classes beside those that exist anyway, by name.
    #[schemars(with = "BTreeMap<String, Word>")]
    pub hardware: BTreeMap<Label, Word>,
    /// How much of anything is taken.
    pub limits: LimitsSettings,
    /// How long what is finished is kept.
    pub retention: Retention,
    /// Logs.
    pub telemetry: Telemetry,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data: PathBuf::from("./orderwire-data"),
            store: Store::default(),
            cache: Cache::default(),
            broker: Broker::default(),
            mqtt: BTreeMap::new(),
            queues: BTreeMap::new(),
            datasets: BTreeMap::new(),
            views: BTreeMap::new(),
            forwards: BTreeMap::new(),
            rules: BTreeMap::new(),
            products: Products::default(),
            targets: BTreeMap::new(),
            environments: BTreeMap::new(),
            archtypes: BTreeMap::new(),
            hardware: BTreeMap::new(),
            limits: LimitsSettings::default(),
            retention: Retention::default(),
            telemetry: Telemetry::default(),
        }
    }
}

impl Config {
    /// Every queue that exists: the default ones, `rules` when there are rules, those of
    /// endpoints, then the others by name; each with the settings given for it. `audit` is
    /// among them only when it is configured.
    pub fn queue_definitions(&self) -> Vec<(QueueName, QueueDef)> {
        let needed = rules::queue(&self.rules).into_iter().chain(forward_definitions(&self.forwards));
        queues::definitions(&self.queues, needed)
    }

    /// What a broker has to do with each queue; in the order of [`Self::queue_definitions`].
    pub fn broker_queues(&self) -> Vec<BrokerQueue> {
        queues::at_broker(self.queue_definitions(), &self.queues)
    }

    /// The folder of the embedded store's files: the data folder, or the one that
    /// `store.url` names.
    pub fn store_folder(&self) -> PathBuf {
        match self.store.url.strip_prefix(SQLITE) {
            None | Some("") => self.data.clone(),
            Some(path) => PathBuf::from(path),
        }
    }
}

/// The in-process cache.
pub(crate) const MEMORY: &str = "memory://";

/// Where answers are kept ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// `memory://`: in this process. `redis://USER@HOST:PORT/DATABASE`, or `rediss://` for TLS:
    /// in a Redis that several servers share, behind what is kept in this process.
    pub url: String,
    /// The password of Redis: `${NAME}` or `file:/path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// A file of certificates (PEM) that the one of Redis is checked against, instead of the
    /// system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// A file with our own certificate (PEM), and those that it is signed by, for a Redis that
    /// asks for one. With `key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// The file of its private key (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// How much is kept in this process, 1 MiB to 1 TiB.
    pub bytes: ByteSize,
}

impl Cache {
    /// Whether answers are kept in this process alone.
    pub fn is_in_memory(&self) -> bool {
        self.url == MEMORY
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            url: MEMORY.to_owned(),
            password: None,
            ca: None,
            certificate: None,
            key: None,
            bytes: ByteSize(64 << 20),
        }
    }
}

/// How long what is finished is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// The steps of traces, 1h to 3650d.
    pub traces: Span,
    /// Dead letters that nobody replayed or discarded, 1h to 3650d.
    pub dead_letters: Span,
    /// Names of events and `Idempotency-Key`s: for so long a repetition is
    /// known as one, 1h to 30d.
    pub idempotency: Span,
    /// The delivery log of endpoints, 1h to 3650d. Of each endpoint no more is kept than
    /// its `log` says.
    pub forwards: Span,
    /// Finished orders with their journals, and releases that were removed, 1d to
    /// 3650d. Of a release that is there the newest order always stays.
    pub orders: Span,
    /// How many revisions of a release are kept, 2 to 1000, beside those in use.
    pub revisions: u64,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u64| Span(Duration::from_secs(days * 86_400));
        Self {
            traces: days(7),
            dead_letters: days(30),
            idempotency: days(1),
            forwards: days(7),
            orders: days(90),
            revisions: 50,
        }
    }
}

/// Logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// A level (`off`, `error`, `warn`, `info`, `debug`, `trace`), or several
    /// joined by commas, each for a part: `info,orderwire_queue=debug`.
    pub log: String,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { log: "info".to_owned() }
    }
}
