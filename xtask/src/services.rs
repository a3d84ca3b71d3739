//! `cargo xtask services`: starts the servers that suites know, as far as they are
//! installed and do not run yet, on their usual ports of this machine. What it starts
//! goes on running.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::needs::{CONNECT_WITHIN, SERVERS};
use crate::shell;

/// How long a server may take to answer; RabbitMQ takes its time.
const READY_WITHIN: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How Debian names a server of [`SERVERS`].
struct Service {
    name: &'static str,
    /// A file that is there when it is installed.
    installed: &'static str,
    package: &'static str,
    /// Its service; none: it is started by us.
    service: Option<&'static str>,
}

const SERVICES: [Service; 6] = [
    Service {
        name: "PostgreSQL",
        installed: "/etc/init.d/postgresql",
        package: "postgresql",
        service: Some("postgresql"),
    },
    Service {
        name: "Redis",
        installed: "/usr/bin/redis-server",
        package: "redis-server",
        service: Some("redis-server"),
    },
    Service {
        name: "RabbitMQ",
        installed: "/usr/sbin/rabbitmq-server",
        package: "rabbitmq-server",
        service: Some("rabbitmq-server"),
    },
    // Its service has no JetStream.
    Service { name: "NATS", installed: "/usr/sbin/nats-server", package: "nats-server", service: None },
    Service {
        name: "MariaDB",
        installed: "/etc/init.d/mariadb",
        package: "mariadb-server",
        service: Some("mariadb"),
    },
    Service {
        name: "Mosquitto",
        installed: "/usr/sbin/mosquitto",
        package: "mosquitto",
        service: Some("mosquitto"),
    },
];

/// Starts what is installed, says how to install the rest, and fails if one that was
/// started does not answer.
pub(crate) fn run() -> Result<()> {
    let mut missing = Vec::new();
    for (name, port) in SERVERS {
        let service = SERVICES.iter().find(|service| service.name == name).expect("one for each server");
        if answers(port) {
            println!("{name:<11} runs on 127.0.0.1:{port}");
        } else if !Path::new(service.installed).exists() {
            println!("{name:<11} is not installed: apt-get install {}", service.package);
        } else if let Err(why) = start(service, port) {
            println!("{name:<11} does not run: {why:#}");
            missing.push(name);
        } else {
            println!("{name:<11} was started on 127.0.0.1:{port}");
        }
    }
    if !missing.is_empty() {
        bail!("installed, and not running: {}", missing.join(", "));
    }
    Ok(())
}

fn start(service: &Service, port: u16) -> Result<()> {
    match service.service {
        Some(name) if !is_root() => bail!("it needs root: sudo service {name} start"),
        Some(name) => shell::output(Command::new("service").args([name, "start"])).map(drop)?,
        None => start_nats(port)?,
    }
    let begun = Instant::now();
    while !answers(port) {
        if begun.elapsed() > READY_WITHIN {
            bail!("it was started, and does not answer within {READY_WITHIN:?}");
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// NATS with JetStream, with its data beside what is built.
fn start_nats(port: u16) -> Result<()> {
    let folder = shell::root().join("target/services/nats");
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let mut command = Command::new("/usr/sbin/nats-server");
    command.args(["-js", "-a", "127.0.0.1", "-p", &port.to_string()]);
    command.arg("-sd").arg(&folder).arg("-l").arg(folder.join("log"));
    detached(&mut command).spawn().context("start nats-server").map(drop)
}

/// Lets a command live on when we end, or are interrupted.
fn detached(command: &mut Command) -> &mut Command {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

fn answers(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, CONNECT_WITHIN).is_ok()
}

fn is_root() -> bool {
    shell::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_that_suites_know_has_a_service() {
        for (name, _) in SERVERS {
            assert!(SERVICES.iter().any(|service| service.name == name), "{name}");
        }
    }
}
