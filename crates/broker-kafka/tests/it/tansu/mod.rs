//! The same against a server that speaks Kafka's protocol in a process of its own: Tansu, on
//! memory. It makes topics and looks passwords up, which the client library's cluster does not; the
//! text beside offsets it forgets.

pub(crate) mod conformance;
mod login;
mod markers;
mod tls;

use std::fs::File;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use orderwire_broker_kafka::Options;
use orderwire_servers::free_port;
use tempfile::TempDir;

use crate::support::eventually;

/// A server that ends with this value.
pub(crate) struct Tansu {
    _folder: TempDir,
    port: u16,
    server: Child,
}

impl Tansu {
    /// None where the program is not there, which `CI=true` requires.
    pub(crate) async fn start() -> Option<Self> {
        let port = free_port().unwrap();
        Self::start_as(port, &format!("127.0.0.1:{port}"), &[]).await
    }

    /// One that tells its clients to reach it at another place, with these arguments.
    pub(crate) async fn start_as(port: u16, place: &str, arguments: &[&str]) -> Option<Self> {
        let Some(program) = std::env::var_os("KAFKA_SERVER") else {
            assert!(std::env::var("CI").is_err(), "KAFKA_SERVER, which `cargo xtask test` sets, is not set");
            eprintln!("SKIPPED: KAFKA_SERVER is not set: run the tests with `cargo xtask test`");
            return None;
        };
        let folder = TempDir::new().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let server = Command::new(program)
            .args(["broker", "--storage-engine", "memory://tansu/"])
            .args(["--listener-url", &format!("tcp://127.0.0.1:{port}")])
            .args(["--advertised-listener-url", &format!("tcp://{place}")])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .current_dir(folder.path())
            .spawn()
            .unwrap();
        let tansu = Self { _folder: folder, port, server };
        eventually("it listens", async || TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
        Some(tansu)
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            servers: vec![format!("127.0.0.1:{}", self.port)],
            partitions: 4,
            name: "orderwire test".to_owned(),
            timeout: Duration::from_secs(20),
            heartbeat: Duration::from_millis(500),
            ..Options::default()
        }
    }
}

impl Drop for Tansu {
    fn drop(&mut self) {
        // Its end is all that matters now, also after a failed test.
        self.server.kill().ok();
        self.server.wait().ok();
    }
}
