//! The process of a server.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::PATIENCE;

/// A process that ends with this value.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts it. What it says goes nowhere unless the command says where.
    ///
    /// # Errors
    /// When there is no such program; `package` says what it comes with.
    pub fn start(command: &mut Command, package: &str) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).spawn();
        Ok(Self(child.with_context(|| format!("starting {program}, of the package {package}"))?))
    }

    /// Waits until it listens on this port.
    ///
    /// # Errors
    /// When it does not in time, or ends, with its log.
    pub fn until_it_listens(&mut self, port: u16, log: impl Fn() -> String) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = self.0.try_wait()? {
                bail!("it ended with {status} instead of listening on port {port}: {}", log());
            }
            ensure!(Instant::now() < deadline, "nobody listens on port {port}: {}", log());
            // tidy: sleep because a port that opens is no event
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Ends it in good order: what it promised is on disk then.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn stop(mut self) -> Result<()> {
        self.signal("TERM")?;
        self.0.wait()?;
        Ok(())
    }

    /// Sends it a signal: `TERM`, `STOP`, `CONT`.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status()?;
        ensure!(status.success(), "kill -{name} failed");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its end is all that matters now, also after a failed test.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
