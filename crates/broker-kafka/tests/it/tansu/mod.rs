//! The same against a server that speaks Kafka's protocol in a process of its own: Tansu, on
//! memory. It makes topics and looks passwords up, which the client library's cluster does not; the
//! text beside offsets it forgets.

pub(crate) mod conformance;
mod login;
mod markers;
mod tls;

use std::time::Duration;

use orderwire_broker_kafka::Options;
use orderwire_servers::free_port;
use orderwire_servers::kafka::Kafka;

/// A server that ends with this value.
pub(crate) struct Tansu(Kafka);

impl Tansu {
    /// None where the program is not there, which `CI=true` requires.
    pub(crate) fn start() -> Option<Self> {
        let port = free_port().unwrap();
        Self::start_as(port, &format!("127.0.0.1:{port}"), &[])
    }

    /// One that tells its clients to reach it at another place, with these arguments.
    pub(crate) fn start_as(port: u16, place: &str, arguments: &[&str]) -> Option<Self> {
        if Kafka::program().is_none() {
            assert!(std::env::var("CI").is_err(), "KAFKA_SERVER, which `cargo xtask test` sets, is not set");
            eprintln!("SKIPPED: KAFKA_SERVER is not set: run the tests with `cargo xtask test`");
            return None;
        }
        Some(Self(Kafka::started_at(port, place, arguments).unwrap()))
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            servers: vec![format!("127.0.0.1:{}", self.0.port())],
            partitions: 4,
            name: "orderwire test".to_owned(),
            timeout: Duration::from_secs(20),
            heartbeat: Duration::from_millis(500),
            ..Options::default()
        }
    }
}
