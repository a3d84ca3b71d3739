//! Redis, which keeps nothing on disk.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{Process, free_port};

/// A server that ends with this value.
pub struct Redis {
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Redis {
    /// A server that is not started yet: its port refuses connections. More arguments go to
    /// `redis-server`.
    pub fn new(arguments: &[&str]) -> Result<Self> {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Ok(Self { folder: tempfile::tempdir()?, port: free_port()?, arguments, process: None })
    }

    /// A server that answers. None, said loudly, where it is not installed, which `CI=true`
    /// requires.
    pub fn started(arguments: &[&str]) -> Result<Option<Self>> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            ensure!(std::env::var_os("CI").is_none(), "CI needs redis-server, of the package redis-server");
            eprintln!("SKIPPED: no redis-server; this test starts one of its own");
            return Ok(None);
        }
        let mut redis = Self::new(arguments)?;
        redis.start()?;
        Ok(Some(redis))
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it with nothing in it, and waits until it listens.
    pub fn start(&mut self) -> Result<()> {
        let log = self.folder.path().join("log");
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &self.port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.arg("--dir").arg(self.folder.path()).arg("--logfile").arg(&log).args(&self.arguments);
        let mut process =
            Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()), "redis-server")?;
        process.until_it_listens(self.port, || std::fs::read_to_string(&log).unwrap_or_default())?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it in good order.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), Process::stop)
    }

    /// Makes it hang: its port takes connections, and nobody answers.
    pub fn hang(&self) -> Result<()> {
        self.process.as_ref().context("it runs")?.signal("STOP")
    }

    /// Has it go on.
    pub fn go_on(&self) -> Result<()> {
        self.process.as_ref().context("it runs")?.signal("CONT")
    }

    /// Asks it something by its own tool.
    pub fn ask(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new("redis-cli");
        let output = command.args(["-p", &self.port.to_string()]).args(words).stdin(Stdio::null()).output();
        let output = output.context("starting redis-cli, of the package redis-tools")?;
        ensure!(output.status.success(), "redis-cli {words:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }
}
