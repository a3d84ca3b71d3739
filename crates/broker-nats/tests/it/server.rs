//! A server of a test's own.

use std::process::{Command, Stdio};

use orderwire_servers::nats::{Nats, program};

use crate::kit::eventually;

/// A real server that can be ended and comes back on the same port with the same data, while
/// the test goes on.
pub(crate) struct Server(Nats);

impl Server {
    /// None where the program is not there, which `CI=true` requires.
    pub(crate) async fn start(arguments: &[&str]) -> Option<Self> {
        let mut server = Self::reserve(arguments)?;
        server.run().await;
        Some(server)
    }

    /// One that does not run yet.
    pub(crate) fn reserve(arguments: &[&str]) -> Option<Self> {
        is_there().then(|| Self(Nats::with(arguments).unwrap()))
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port()
    }

    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    /// Runs it, and waits until it speaks.
    pub(crate) async fn run(&mut self) {
        self.run_with(true).await;
    }

    /// The same without streams.
    pub(crate) async fn run_plain(&mut self) {
        self.run_with(false).await;
    }

    async fn run_with(&mut self, has_streams: bool) {
        self.0.begin(has_streams).unwrap();
        eventually("the server speaks", async || self.0.answers()).await;
    }

    /// Ends it as an operator does.
    pub(crate) fn stop(&mut self) {
        self.0.stop().unwrap();
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
    }
}

/// Whether the program is there, which `CI=true` requires.
pub(crate) fn is_there() -> bool {
    let is_there = Command::new(program()).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !is_there {
        assert!(std::env::var("CI").is_err(), "no {}, which CI requires", program());
        eprintln!("SKIPPED: no {}", program());
    }
    is_there
}
