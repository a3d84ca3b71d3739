//! A Mosquitto of a test's own: on a port and in a folder of its own, so that it can be
//! stopped and started again without disturbing anybody.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::PATIENCE;
use crate::rabbit::free_port;

/// A broker that ends with this value, and keeps what it holds when it is started again.
pub struct Mosquitto {
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

impl Mosquitto {
    /// A broker that is not started yet: its port refuses connections.
    pub fn new() -> Result<Self> {
        Self::with("allow_anonymous true\n")
    }

    /// A broker that knows one user alone, and is not started yet either.
    pub fn with_user(user: &str, password: &str) -> Result<Self> {
        let mosquitto = Self::with("allow_anonymous false\npassword_file FOLDER/passwords\n")?;
        let file = mosquitto.folder.path().join("passwords");
        let status =
            Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(file).args([user, password]).status();
        ensure!(status.context("starting mosquitto_passwd, which comes with mosquitto")?.success());
        Ok(mosquitto)
    }

    fn with(more: &str) -> Result<Self> {
        let (folder, port) = (tempfile::tempdir()?, free_port()?);
        let place = folder.path().display();
        // As root it would become another user, who may not read the folder.
        let config = format!(
            "user root\nlistener {port} 127.0.0.1\npersistence true\npersistence_location {place}/\n\
             max_queued_messages 0\nlog_dest file {place}/log\n{}",
            more.replace("FOLDER", &place.to_string())
        );
        std::fs::write(folder.path().join("conf"), config)?;
        Ok(Self { folder, port, process: None })
    }

    /// A broker that answers.
    pub fn started() -> Result<Self> {
        let mut mosquitto = Self::new()?;
        mosquitto.start()?;
        Ok(mosquitto)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Starts it on what it holds, and waits until it answers.
    pub fn start(&mut self) -> Result<()> {
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(self.folder.path().join("conf"));
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.process = Some(process.context("starting mosquitto, which comes with the package mosquitto")?);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            ensure!(Instant::now() < deadline, "mosquitto did not start: {log}");
            // tidy: sleep because a port that opens is no event
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Ok(())
    }

    /// Ends it in good order: what it promised is on disk then.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            let status = Command::new("kill").args(["-TERM", &process.id().to_string()]).status()?;
            ensure!(status.success(), "kill failed");
            process.wait()?;
        }
        Ok(())
    }

    /// Publishes one message with QoS 1 by other people's code; more words go to
    /// `mosquitto_pub`.
    pub fn publish(&self, topic: &str, body: &[u8], words: &[&str]) -> Result<()> {
        let (mut process, mut input) = self.producer(topic, &[words, &["-s"]].concat())?;
        input.write_all(body)?;
        drop(input);
        ensure!(process.wait()?.success(), "mosquitto_pub failed");
        Ok(())
    }

    /// A producer of a message of QoS 1 with each line that it gets.
    pub fn lines(&self, topic: &str) -> Result<(Child, ChildStdin)> {
        self.producer(topic, &["-l"])
    }

    fn producer(&self, topic: &str, words: &[&str]) -> Result<(Child, ChildStdin)> {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-q", "1", "-t", topic]).args(words);
        let mut process = command
            .stdin(Stdio::piped())
            .spawn()
            .context("starting mosquitto_pub, which comes with the package mosquitto-clients")?;
        let input = process.stdin.take().context("stdin is piped")?;
        Ok((process, input))
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Its end is all that matters now.
            process.kill().ok();
            process.wait().ok();
        }
    }
}
