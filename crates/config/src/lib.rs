//! The one configuration: layered load, schema, validation.
//!
//! [`Config::load`] takes the default of every key, lays the YAML file over it,
//! the environment (`ORDERWIRE__STORE__URL`) over that, and explicit overrides
//! (flags) last. Unknown keys are refused everywhere, and every fault is
//! reported together, each with its place.
//!
//! How it is done: each source becomes a tree of nodes that know their place
//! (`tree`), the trees are merged, serde reads the typed structure from the
//! merged tree (`read`), and the checks that need more than one key come last
//! (`check`).
//!
//! Invariants: plain values only, no vendor types, no network. No secret is in it: a
//! [`Secret`] says where one is. Hostile files
//! are bounded: 1 MiB, 32 levels, 50,000 values and 16 MiB of text with aliases
//! counted as often as they are used. [`yaml`] reads other files in the same way.

mod check;
mod fault;
mod load;
mod model;
mod read;
mod schema;
mod secret;
mod tree;
pub mod yaml;

pub use check::Report;
pub use fault::{Fault, Faults, Position};
pub use load::{Overrides, Sources, environment};
pub use model::{
    BackoffSettings, BreakerSettings, Broker, BrokerQueue, BrokerUrl, ByteSize, Cache, Clients, Config,
    Emission, Environment, ForwardBackoff, ForwardSettings, Freshness, HeaderText, LimitsSettings, Mqtt,
    MqttVersion, Names, NatsSettings, Param, PrincipalSettings, Products, QueueSettings, RULES_QUEUE, Read,
    Retention, Rule, Scalar, Shape, Spool, Store, TargetKind, TargetSettings, Telemetry, TopicMapping, View,
    Word, forward_queue,
};
pub use schema::{default_yaml, schema};
pub use secret::{Secret, SecretValue};
