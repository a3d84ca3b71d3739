//! Mosquitto.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{PATIENCE, Process, free_port};

/// A broker that ends with this value, and keeps what it holds when it is started again.
pub struct Mosquitto {
    folder: TempDir,
    port: u16,
    process: Option<Process>,
}

impl Mosquitto {
    /// A broker that is not started yet: its port refuses connections.
    pub fn new() -> Result<Self> {
        Self::in_folder(tempfile::tempdir()?, "allow_anonymous true\n")
    }

    /// A broker that knows one user alone, and is not started yet either.
    pub fn with_user(user: &str, password: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("passwords");
        let known = format!("allow_anonymous false\npassword_file {}\n", file.display());
        let mosquitto = Self::in_folder(folder, &known)?;
        let status =
            Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(file).args([user, password]).status();
        ensure!(status.context("starting mosquitto_passwd, which comes with mosquitto")?.success());
        Ok(mosquitto)
    }

    fn in_folder(folder: TempDir, more: &str) -> Result<Self> {
        let port = free_port()?;
        let place = folder.path().display();
        // As root it would become another user, who may not read the folder.
        let config = format!(
            "user root\nlistener {port} 127.0.0.1\npersistence true\npersistence_location {place}/\n\
             max_queued_messages 0\nlog_dest file {place}/log\n{more}"
        );
        std::fs::write(folder.path().join("conf"), config)?;
        Ok(Self { folder, port, process: None })
    }

    /// A broker that answers.
    pub fn started() -> Result<Self> {
        Self::started_with("allow_anonymous true\n")
    }

    /// The same with further lines of configuration.
    pub fn started_with(more: &str) -> Result<Self> {
        let mut mosquitto = Self::in_folder(tempfile::tempdir()?, more)?;
        mosquitto.start()?;
        Ok(mosquitto)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it has written into its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until it has written this into its log.
    pub fn until_logged(&self, text: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            ensure!(Instant::now() < deadline, "{text:?} is not in its log: {}", self.log());
            // tidy: sleep because a file tells nobody
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Starts it on what it holds, and waits until it answers.
    pub fn start(&mut self) -> Result<()> {
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(self.folder.path().join("conf"));
        let mut process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()), "mosquitto")?;
        process.until_it_listens(self.port, || self.log())?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it in good order: what it promised is on disk then.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), Process::stop)
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
