//! RabbitMQ.

use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::free_port;

/// Where Debian's package has the scripts that change neither user nor folder.
pub const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";
/// Sees that each quorum queue has a leader: RabbitMQ before 3.11 that was killed does not always
/// elect one, and then never does by itself (rabbitmq-server issue 10070, with this remedy).
const ELECTED: &str = r"
    lists:foreach(fun(Queue) ->
        Id = amqqueue:get_pid(Queue),
        case ra:members(Id, 3000) of
            {ok, _, _} -> ok;
            _ -> ra:trigger_election(Id), {ok, _, _} = ra:members(Id, 30000)
        end
    end, rabbit_amqqueue:list_by_type(rabbit_quorum_queue)).";
/// An Erlang machine is slow to start on a busy computer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A node that ends with this value.
pub struct Rabbit {
    folder: TempDir,
    port: u16,
    tls_port: u16,
    names_port: u16,
    distribution_port: u16,
    node: Option<Child>,
    names: Child,
}

impl Rabbit {
    /// A node that is not started yet: its port refuses connections.
    pub fn new() -> Result<Self> {
        Self::with(|_| String::new())
    }

    /// The same with a configuration, which may use a port for TLS.
    pub fn with(configuration: impl FnOnce(u16) -> String) -> Result<Self> {
        let (folder, tls_port) = (tempfile::tempdir()?, free_port()?);
        std::fs::write(folder.path().join("plugins"), "[].")?;
        std::fs::write(folder.path().join("node.conf"), configuration(tls_port))?;
        let names_port = free_port()?;
        let names = Command::new("epmd")
            .args(["-port", &names_port.to_string(), "-address", "127.0.0.1"])
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting epmd, which comes with the package rabbitmq-server")?;
        let (port, distribution_port) = (free_port()?, free_port()?);
        Ok(Self { folder, port, tls_port, names_port, distribution_port, node: None, names })
    }

    /// A node that answers.
    pub fn started() -> Result<Self> {
        let mut rabbit = Self::new()?;
        rabbit.start()?;
        Ok(rabbit)
    }

    /// Its port for AMQP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its port for TLS, where its configuration has one.
    pub fn tls_port(&self) -> u16 {
        self.tls_port
    }

    /// Its address for AMQP.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    /// Starts it on what it holds, and waits until it answers.
    pub fn start(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.folder.path().join("out.log"))?;
        let mut node = self.command("rabbitmq-server");
        node.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.node = Some(node.spawn().context("starting rabbitmq-server")?);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            ensure!(Instant::now() < deadline, "RabbitMQ did not start: {}", self.log()?);
            // tidy: sleep because a port that opens is no event
            std::thread::sleep(Duration::from_millis(50));
        }
        // The port opens before the node takes calls.
        self.control(&["await_startup"])?;
        self.control(&["eval", ELECTED])
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        let pid = std::fs::read_to_string(self.folder.path().join("pid"))?;
        let status = Command::new("kill").args(["-KILL", pid.trim()]).status()?;
        ensure!(status.success(), "kill -KILL {pid} failed");
        if let Some(mut node) = self.node.take() {
            node.wait()?;
        }
        Ok(())
    }

    /// Ends it in good order.
    pub fn stop(&mut self) -> Result<()> {
        self.control(&["stop"])?;
        if let Some(mut node) = self.node.take() {
            node.wait()?;
        }
        Ok(())
    }

    /// How many messages a queue holds, with those that are handed out and not acked.
    pub fn messages(&self, queue: &str) -> Result<u64> {
        let listed = self.said(&["--silent", "list_queues", "name", "messages"])?;
        let of_queue = |line: &str| line.strip_prefix(queue)?.trim().parse().ok();
        listed.lines().find_map(of_queue).with_context(|| format!("no queue {queue}: {listed}"))
    }

    /// Runs `rabbitmqctl` with these words.
    pub fn control(&self, words: &[&str]) -> Result<()> {
        self.said(words).map(drop)
    }

    fn said(&self, words: &[&str]) -> Result<String> {
        let output = self.command("rabbitmqctl").args(words).stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "rabbitmqctl {words:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn command(&self, script: &str) -> Command {
        let folder = self.folder.path();
        let mut command = Command::new(Path::new(SCRIPTS).join(script));
        command
            .env("HOME", folder)
            .env("ERL_EPMD_PORT", self.names_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", format!("orderwire-{}@localhost", self.port))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string());
        let places: [(&str, PathBuf); 6] = [
            ("RABBITMQ_MNESIA_BASE", folder.join("data")),
            ("RABBITMQ_LOG_BASE", folder.join("log")),
            ("RABBITMQ_PID_FILE", folder.join("pid")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins")),
            ("RABBITMQ_CONFIG_FILE", folder.join("node.conf")),
            ("RABBITMQ_CONF_ENV_FILE", folder.join("none")),
        ];
        command.envs(places);
        command
    }

    fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.path().join("out.log"))?)
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        // Their ends are all that matters now, also after a failed test.
        if self.node.is_some() {
            self.kill().ok();
        }
        self.names.kill().ok();
        self.names.wait().ok();
    }
}
