//! Kafka, as Tansu speaks it, on memory: what it holds ends with it.

use std::ffi::OsString;
use std::fs::File;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{Process, free_port};

/// A server that ends with this value.
pub struct Kafka {
    _folder: TempDir,
    port: u16,
    _process: Process,
}

impl Kafka {
    /// The program, which `KAFKA_SERVER` names; `cargo xtask test` installs it, and sets that.
    pub fn program() -> Option<OsString> {
        std::env::var_os("KAFKA_SERVER")
    }

    /// A server that answers.
    pub fn started() -> Result<Self> {
        let port = free_port()?;
        Self::started_at(port, &format!("127.0.0.1:{port}"), &[])
    }

    /// One at this port that tells its clients to reach it at another place, with more arguments.
    pub fn started_at(port: u16, place: &str, arguments: &[&str]) -> Result<Self> {
        let program = Self::program();
        let program = program.context("KAFKA_SERVER is not set: run the tests with `cargo xtask test`")?;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("log");
        let log = File::create(&path)?;
        let mut command = Command::new(program);
        command
            .args(["broker", "--storage-engine", "memory://tansu/"])
            .args(["--listener-url", &format!("tcp://127.0.0.1:{port}")])
            .args(["--advertised-listener-url", &format!("tcp://{place}")])
            .args(arguments)
            .current_dir(folder.path())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut process = Process::start(&mut command, "tansu")?;
        process.until_it_listens(port, || std::fs::read_to_string(&path).unwrap_or_default())?;
        Ok(Self { _folder: folder, port, _process: process })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("kafka://127.0.0.1:{}", self.port)
    }
}
