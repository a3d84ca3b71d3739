//! A server of a test's own.

use std::io::Read;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use orderwire_servers::{Process, free_port};
use tempfile::TempDir;

use crate::kit::eventually;

/// A real server that can be ended and comes back on the same port with the same data.
pub(crate) struct Server {
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Server {
    /// None where the program is not there, which `CI=true` requires.
    pub(crate) async fn start(arguments: &[&str]) -> Option<Self> {
        let mut server = Self::reserve(arguments)?;
        server.run().await;
        Some(server)
    }

    /// One that does not run yet.
    pub(crate) fn reserve(arguments: &[&str]) -> Option<Self> {
        if Command::new(program()).arg("--version").stdout(Stdio::null()).status().is_err() {
            assert!(std::env::var("CI").is_err(), "no {}, which CI requires", program());
            eprintln!("SKIPPED: no {}", program());
            return None;
        }
        let port = free_port().unwrap();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Some(Self { folder: TempDir::new().unwrap(), port, arguments, process: None })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Runs it, and waits until it speaks.
    pub(crate) async fn run(&mut self) {
        self.run_with(&["-js"]).await;
    }

    /// The same without streams.
    pub(crate) async fn run_plain(&mut self) {
        self.run_with(&[]).await;
    }

    async fn run_with(&mut self, more: &[&str]) {
        let mut command = Command::new(program());
        command.args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-sd"]).arg(self.folder.path());
        command.args(more).args(&self.arguments).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(Process::start(&mut command, "nats-server").unwrap());
        let port = self.port;
        eventually("the server speaks", async || {
            let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
            stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            let mut begin = [0; 4];
            stream.read_exact(&mut begin).is_ok() && &begin == b"INFO"
        })
        .await;
    }

    /// Ends it as an operator does.
    pub(crate) fn stop(&mut self) {
        self.process.take().map_or(Ok(()), Process::stop).unwrap();
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }
}

/// The server's program; `NATS_SERVER` names another.
pub(crate) fn program() -> String {
    std::env::var("NATS_SERVER").unwrap_or_else(|_| "nats-server".to_owned())
}
