//! A Kafka of a test's own: Tansu, on memory, which speaks its protocol. `cargo xtask test` installs
//! it, and builds the binary that knows Kafka.

use std::fs::File;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::PATIENCE;
use orderwire_servers::free_port;

/// A server that ends with this value.
pub struct Kafka {
    _folder: TempDir,
    port: u16,
    server: Child,
}

impl Kafka {
    /// A server that answers.
    pub fn started() -> Result<Self> {
        let program = from_xtask("KAFKA_SERVER")?;
        let (folder, port) = (tempfile::tempdir()?, free_port()?);
        let log = File::create(folder.path().join("log"))?;
        let place = format!("tcp://127.0.0.1:{port}");
        let server = Command::new(program)
            .args(["broker", "--storage-engine", "memory://tansu/"])
            .args(["--listener-url", &place, "--advertised-listener-url", &place])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .current_dir(folder.path())
            .spawn()
            .context("starting the server of KAFKA_SERVER")?;
        let kafka = Self { _folder: folder, port, server };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(Instant::now() < deadline, "the server of KAFKA_SERVER did not start");
            // tidy: sleep because a port that opens is no event
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(kafka)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("kafka://127.0.0.1:{}", self.port)
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // Its end is all that matters now, also after a failed test.
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

/// The binary that was built with the feature `kafka`.
pub fn binary() -> Result<PathBuf> {
    from_xtask("ORDERWIRE_BIN_KAFKA")
}

fn from_xtask(name: &str) -> Result<PathBuf> {
    let value = std::env::var_os(name);
    Ok(value.with_context(|| format!("{name} is not set: run the tests with `cargo xtask test`"))?.into())
}
