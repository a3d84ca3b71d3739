//! Where everything meets: the configuration becomes engines, services and
//! routes, started in order and drained in the opposite one.
//!
//! Start: configuration → folder (locked) → engines → queues → datasets and
//! keys → workers → HTTP → orders. Drain: orders stop, and the processes that they
//! run → HTTP stops accepting and ends its requests → MQTT connections acknowledge what they hold → workers finish what they hold → the queue's last commit → files closed.
//!
//! Invariants: this is the only crate that knows an engine and a service; it
//! holds no rule of the business.

mod cache;
mod convert;
mod engines;
mod error;
mod fleeting;
mod forwards;
mod http;
mod load;
mod mqtt;
mod orders;
mod readback;
mod ready;
mod rules;
mod server;
mod stage;
mod start;
mod transport;
mod turn;
mod work;

pub use cache::try_cache;
pub use engines::try_store;
pub use error::Error;
pub use load::load;
pub use orders::{RenderRequest, lint, render};
pub use orderwire_provisioner::targets::process::supervise;
pub use orderwire_types::names::InvalidName;
pub use rules::{RuleRequest, try_rules};
pub use start::{Options, Running, start};
pub use transport::try_broker;

/// What somebody has to know of a configuration in which nothing is wrong: a sentence each.
pub fn warnings(config: &orderwire_config::Config) -> Vec<String> {
    transport::warning(config).into_iter().collect()
}
