//! What the tests can use beside Rust: servers on this machine and tools. Each
//! is looked for and reported; under `CI=true` one that a suite requires and
//! that is not there is a failure, so that no suite is skipped in silence.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::{counts, shell};

/// The real servers that suites know, with their usual port on loopback.
pub(crate) const SERVERS: [(&str, u16); 6] = [
    ("PostgreSQL", 5432),
    ("Redis", 6379),
    ("RabbitMQ", 5672),
    ("NATS", 4222),
    ("MariaDB", 3306),
    ("Mosquitto", 1883),
];

/// What a suite cannot run without. The embedded suite needs no server; an
/// engine or a broker adds its line here with its crate.
const REQUIRED: &[Requirement] = &[
    Requirement {
        name: "RabbitMQ",
        suite: "the broker RabbitMQ: its conformance, and what it does when a server fails",
        wanted_here: true,
    },
    Requirement {
        name: "PostgreSQL",
        suite: "the engine on PostgreSQL: its conformance, and several nodes on one database",
        wanted_here: true,
    },
    Requirement {
        name: "initdb",
        suite: "the faults of PostgreSQL: servers of a test's own that are ended",
        wanted_here: cfg!(unix),
    },
    Requirement {
        name: "Redis",
        suite: "the cache in Redis: its conformance, beside that of a node of its own",
        wanted_here: true,
    },
    Requirement {
        name: "redis-server",
        suite: "the faults of Redis: servers of a test's own that are ended",
        wanted_here: true,
    },
    Requirement {
        name: "psql",
        suite: "servers on a PostgreSQL: what is in it, and what is wrong with it",
        wanted_here: cfg!(unix),
    },
    Requirement {
        name: "strace",
        suite: "the system-call trace: a data sync before each acknowledgement",
        wanted_here: cfg!(target_os = "linux"),
    },
    Requirement {
        name: "valgrind",
        suite: "the instruction counts: hot paths under callgrind",
        wanted_here: cfg!(target_os = "linux"),
    },
    example("php"),
    example("curl"),
    example("jq"),
    Requirement {
        name: "python3",
        suite: "the code in docs/webhooks.md that verifies a signature, and the examples of consumers",
        wanted_here: true,
    },
    Requirement {
        name: "node",
        suite: "the code in docs/webhooks.md that verifies a signature, and the examples of consumers",
        wanted_here: true,
    },
    Requirement {
        name: "npm",
        suite: "the client library of JavaScript that speaks to /rest: it is installed by npm",
        wanted_here: true,
    },
    Requirement {
        name: "mount",
        suite: "the full disk: a small file system that is filled to its end",
        wanted_here: cfg!(target_os = "linux"),
    },
    Requirement {
        name: "mosquitto",
        suite: "MQTT: brokers of a test's own that are ended, and what their producers send",
        wanted_here: true,
    },
    Requirement { name: "NATS", suite: "the suite of brokers, over NATS JetStream", wanted_here: true },
    Requirement {
        name: "nats-server",
        suite: "the faults of NATS: servers of a test's own that are ended",
        wanted_here: true,
    },
];

/// What an example of a consumer is written in.
const fn example(name: &'static str) -> Requirement {
    Requirement {
        name,
        suite: "the examples of consumers: each handles every event, killed or not",
        wanted_here: cfg!(unix),
    }
}

/// How long a server on this machine may take to accept a connection.
pub(crate) const CONNECT_WITHIN: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
struct Requirement {
    /// A server's name in [`SERVERS`], or a tool's.
    name: &'static str,
    /// The suite that is skipped without it.
    suite: &'static str,
    /// False where the suite does not exist, for example on another system.
    wanted_here: bool,
}

/// One thing that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    name: &'static str,
    place: String,
    found: bool,
}

/// Looks for everything, prints the table, and fails under `CI=true` when
/// something required is missing.
pub(crate) fn report() -> Result<()> {
    let findings = look();
    eprint!("{}", table(&findings, REQUIRED));
    let missing = missing(&findings, REQUIRED);
    if missing.is_empty() {
        return Ok(());
    }
    let list =
        missing.iter().map(|need| format!("{} ({})", need.name, need.suite)).collect::<Vec<_>>().join("; ");
    if fails(&missing, shell::ci()) {
        bail!("CI=true and what a suite requires is missing: {list}");
    }
    eprintln!("WARNING: skipped for want of a requirement (a failure under CI=true): {list}\n");
    Ok(())
}

fn look() -> Vec<Finding> {
    let mut findings: Vec<Finding> = SERVERS
        .iter()
        .map(|&(name, port)| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let found = TcpStream::connect_timeout(&address, CONNECT_WITHIN).is_ok();
            Finding { name, place: address.to_string(), found }
        })
        .collect();
    // Being installed is not enough: containers often forbid tracing.
    let traces = shell::succeeds(Command::new("strace").args(["-f", "-e", "trace=fsync", "true"]));
    findings.push(Finding { name: "strace", place: "able to trace a child".to_owned(), found: traces });
    let counts = counts::works();
    findings.push(Finding { name: "valgrind", place: "able to run callgrind".to_owned(), found: counts });
    for name in ["python3", "node", "npm", "php", "curl", "jq", "psql"] {
        let runs = shell::succeeds(Command::new(name).arg("--version"));
        findings.push(Finding { name, place: "able to run".to_owned(), found: runs });
    }
    let server = shell::succeeds(Command::new("nats-server").arg("--version"));
    findings.push(Finding { name: "nats-server", place: "in the path".to_owned(), found: server });
    // Tests ask those servers with its tool.
    let redis = ["redis-server", "redis-cli"].map(|tool| Command::new(tool).arg("--version").output());
    let redis = redis.iter().all(|version| version.as_ref().is_ok_and(|output| output.status.success()));
    findings.push(Finding {
        name: "redis-server",
        place: "in the path, and its tool".to_owned(),
        found: redis,
    });
    // Debian keeps its programs out of the path.
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let makes = versions.map(|version| version.path().join("bin/initdb")).any(|program| program.exists())
        || shell::succeeds(Command::new("initdb").arg("--version"));
    findings.push(Finding { name: "initdb", place: "there, with its server".to_owned(), found: makes });
    findings.push(Finding { name: "mount", place: "able to mount a tmpfs".to_owned(), found: mounts() });
    // Both print their usage and end with the code of a wrong call.
    let starts = |tool| Command::new(tool).arg("-h").output().is_ok();
    let mosquitto = starts("mosquitto") && starts("mosquitto_pub");
    findings.push(Finding { name: "mosquitto", place: "able to run it".to_owned(), found: mosquitto });
    findings
}

/// Whether a small file system can be mounted, which needs root and is often
/// forbidden in containers: tried, and undone.
fn mounts() -> bool {
    let folder = std::env::temp_dir().join(format!("orderwire-needs-{}", std::process::id()));
    if std::fs::create_dir(&folder).is_err() {
        return false;
    }
    let mount = ["-t", "tmpfs", "-o", "size=64k", "tmpfs"];
    let mounted = shell::succeeds(Command::new("mount").args(mount).arg(&folder));
    let undone = !mounted || shell::succeeds(Command::new("umount").arg(&folder));
    // What stays behind is an empty folder of the system's temporary ones.
    let removed = undone && std::fs::remove_dir(&folder).is_ok();
    mounted && removed
}

fn missing<'a>(findings: &[Finding], required: &'a [Requirement]) -> Vec<&'a Requirement> {
    let there = |name: &str| findings.iter().any(|finding| finding.name == name && finding.found);
    required.iter().filter(|need| need.wanted_here && !there(need.name)).collect()
}

fn fails(missing: &[&Requirement], ci: bool) -> bool {
    ci && !missing.is_empty()
}

fn table(findings: &[Finding], required: &[Requirement]) -> String {
    let mut out = String::from("what the tests can use beside Rust:\n");
    for Finding { name, place, found } in findings {
        let found = if *found { "found" } else { "NOT FOUND" };
        let need = required.iter().find(|need| need.name == *name && need.wanted_here);
        let need = need
            .map_or_else(|| "no suite requires it".to_owned(), |need| format!("required by {}", need.suite));
        writeln!(out, "  {name:<11} {place:<22} {found:<10} {need}")
            .expect("writing to a string cannot fail");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const NATS: Requirement = Requirement { name: "NATS", suite: "the suite of brokers", wanted_here: true };

    fn finding(found: bool) -> Vec<Finding> {
        vec![Finding { name: "NATS", place: "127.0.0.1:4222".to_owned(), found }]
    }

    #[test]
    fn a_required_server_that_is_missing_fails_ci_and_only_ci() {
        let (required, findings) = ([NATS], finding(false));
        let missing = missing(&findings, &required);
        assert_eq!(missing.len(), 1);
        assert!(fails(&missing, true));
        assert!(!fails(&missing, false));
    }

    #[test]
    fn what_is_there_or_not_required_or_not_wanted_here_never_fails() {
        assert!(missing(&finding(true), &[NATS]).is_empty());
        assert!(missing(&finding(false), &[]).is_empty());
        assert!(missing(&finding(false), &[Requirement { wanted_here: false, ..NATS }]).is_empty());
        assert!(!fails(&[], true));
    }

    #[test]
    fn a_requirement_that_nobody_looks_for_counts_as_missing() {
        assert_eq!(missing(&[], &[NATS]).len(), 1);
    }

    #[test]
    fn every_requirement_is_among_what_is_looked_for() {
        let findings = look();
        for need in REQUIRED {
            assert!(findings.iter().any(|finding| finding.name == need.name), "{need:?}");
        }
    }

    #[test]
    fn the_table_is_loud_about_what_is_not_there() {
        let shown = table(&finding(false), &[NATS]);
        assert!(shown.contains("NOT FOUND") && shown.contains("required by the suite of brokers"), "{shown}");
        assert!(!table(&finding(true), &[]).contains("NOT FOUND"));
    }
}
