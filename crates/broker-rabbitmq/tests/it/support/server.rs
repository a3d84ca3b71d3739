//! A RabbitMQ of our own, to be stopped: with ports, data, cookie and name service of its
//! own, in a folder that goes with it.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use orderwire_broker_rabbitmq::Options;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{eventually, unique};

/// Its scripts as they come: those on the PATH change the user and the folder.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";

pub(crate) struct OwnServer {
    pub(crate) port: u16,
    /// For TLS, where it was asked for.
    pub(crate) tls_port: u16,
    folder: TempDir,
    names: u16,
    distribution: u16,
    epmd: Option<Child>,
    node: Option<Child>,
}

impl OwnServer {
    /// Starts a server; none, said loudly, where RabbitMQ is not installed. `settings` is
    /// given its folder and the port for TLS, and makes its configuration.
    pub(crate) async fn start(settings: impl FnOnce(&Path, u16) -> String) -> Option<Self> {
        if !script("rabbitmq-server").exists() {
            assert!(std::env::var_os("CI").is_none(), "CI needs RabbitMQ; install rabbitmq-server");
            eprintln!("SKIPPED: RabbitMQ is not installed; this test starts one of its own");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("orderwire-rabbitmq-").tempdir().unwrap();
        let [port, tls_port, names, distribution] = free_ports();
        std::fs::write(folder.path().join("plugins"), "[].").unwrap();
        std::fs::write(folder.path().join("node.conf"), settings(folder.path(), tls_port)).unwrap();
        let mut server = Self { port, tls_port, folder, names, distribution, epmd: None, node: None };
        let names = names.to_string();
        server.epmd = Some(server.spawn(Path::new("epmd"), &["-port", &names, "-address", "127.0.0.1"]));
        server.run().await;
        Some(server)
    }

    /// Starts the node, and waits until it takes connections.
    pub(crate) async fn run(&mut self) {
        self.node = Some(self.spawn(&script("rabbitmq-server"), &[]));
        let port = self.port;
        eventually("RabbitMQ takes connections", async || {
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
    }

    /// Stops the node in good order, and waits until it has ended.
    pub(crate) async fn stop(&mut self) {
        let mut node = self.node.take().unwrap();
        let script = Pid::from_raw(i32::try_from(node.id()).unwrap()).unwrap();
        // The script hands it on to the node.
        kill_process(script, Signal::TERM).unwrap();
        tokio::task::spawn_blocking(move || node.wait().unwrap()).await.unwrap();
        self.is_gone().await;
    }

    /// Ends the node in the middle of what it does.
    pub(crate) async fn kill(&mut self) {
        end(self.node.take().unwrap());
        self.is_gone().await;
    }

    /// The script that was waited for ends before the node that it started.
    async fn is_gone(&self) {
        let port = self.port;
        eventually("the node has ended", async || TcpStream::connect(("127.0.0.1", port)).await.is_err())
            .await;
    }

    /// Asks the node for something by its own tool.
    pub(crate) async fn control(&self, words: &[&str]) {
        let log = self.log("control");
        let mut command = self.command(&script("rabbitmqctl"), words);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let words = words.join(" ");
        let status = tokio::task::spawn_blocking(move || command.status().unwrap()).await.unwrap();
        assert!(status.success(), "rabbitmqctl {words}: {status}");
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            port: self.port,
            exchange: unique("events"),
            timeout: std::time::Duration::from_secs(5),
            pause_last: std::time::Duration::from_millis(500),
            ..Options::default()
        }
    }

    fn spawn(&self, program: &Path, words: &[&str]) -> Child {
        let log = self.log(&program.file_name().unwrap().to_string_lossy());
        let mut command = self.command(program, words);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        // A group of its own, because the script starts the node as a child.
        command.process_group(0).spawn().unwrap()
    }

    fn log(&self, of: &str) -> File {
        File::options()
            .append(true)
            .create(true)
            .open(self.folder.path().join(of).with_extension("out"))
            .unwrap()
    }

    fn command(&self, program: &Path, words: &[&str]) -> Command {
        let folder = self.folder.path();
        let mut command = Command::new(program);
        command.args(words).env_clear().current_dir(folder);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", folder);
        command.env("ERL_EPMD_PORT", self.names.to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_NODENAME", "orderwire-test@localhost");
        command.env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_NODE_PORT", self.port.to_string());
        command.env("RABBITMQ_DIST_PORT", self.distribution.to_string());
        for (name, file) in [
            ("RABBITMQ_MNESIA_BASE", "data"),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_PID_FILE", "pid"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "plugins"),
            ("RABBITMQ_CONFIG_FILE", "node.conf"),
            ("RABBITMQ_CONF_ENV_FILE", "none"),
        ] {
            command.env(name, folder.join(file));
        }
        command
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        for child in self.node.take().into_iter().chain(self.epmd.take()) {
            end(child);
        }
    }
}

/// Ends a process and all that it started.
fn end(mut child: Child) {
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    // It fails when all of them have ended already.
    kill_process_group(group, Signal::KILL).ok();
    child.wait().unwrap();
}

fn script(name: &str) -> PathBuf {
    Path::new(SCRIPTS).join(name)
}

/// Ports that nobody listens on at this moment, all different.
fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
