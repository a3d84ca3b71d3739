//! A Mosquitto of a test's own.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// How long anything local may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A broker that ends with this value, and keeps what it holds when it is started again.
pub(crate) struct Broker {
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
    process: Option<Child>,
}

impl Broker {
    /// A broker with further lines of configuration, which answers.
    pub(crate) fn start_with(more: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let place = folder.path().display();
        // As root it would become another user, who may not read the folder.
        let config = format!(
            "user root\nlistener {port} 127.0.0.1\npersistence true\npersistence_location {place}/\n\
             max_queued_messages 0\nlog_dest file {place}/log\n{}",
            more.replace("FOLDER", &place.to_string())
        );
        std::fs::write(folder.path().join("conf"), config)?;
        let mut broker = Self { folder, port, process: None };
        if more.contains("FOLDER") {
            return Ok(broker);
        }
        broker.start()?;
        Ok(broker)
    }

    pub(crate) fn started() -> Result<Self> {
        Self::start_with("allow_anonymous true\n")
    }

    /// Starts it on what it holds, and waits until it answers.
    pub(crate) fn start(&mut self) -> Result<()> {
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(self.folder.path().join("conf"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.process = Some(child.context("starting mosquitto, which comes with the package mosquitto")?);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            ensure!(Instant::now() < deadline, "mosquitto did not start: {log}");
            // tidy: sleep because a port that opens is no event
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Waits until it has written this into its log.
    pub(crate) async fn until_logged(&self, text: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = std::fs::read_to_string(self.folder.path().join("log"))?;
            if log.contains(text) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{text:?} is not in its log: {log}");
            // tidy: sleep because a file tells nobody
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends it in good order: what it promised is on disk then.
    pub(crate) fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            let status = Command::new("kill").args(["-TERM", &process.id().to_string()]).status()?;
            ensure!(status.success(), "kill failed");
            process.wait()?;
        }
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Its end is all that matters now.
            process.kill().ok();
            process.wait().ok();
        }
    }
}
