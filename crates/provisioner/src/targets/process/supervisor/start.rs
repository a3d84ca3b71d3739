//! Starting a process.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::WaitStatus;
use tokio::sync::oneshot;

use super::super::PROCESS;
use super::super::manifest::{ProcessSpec, Ready};
use super::Shared;
use super::exec::{OpenFiles, Restrictions};

/// What the first word of a command stands for Orderwire itself.
const OWN: &str = "orderwire";

/// A process that was started.
pub(super) struct Started {
    pub(super) pid: i32,
    pub(super) ended: oneshot::Receiver<WaitStatus>,
    /// Its standard output and error; none for a check.
    pub(super) outputs: Vec<(&'static str, OwnedFd)>,
}

/// What its output is for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Heard {
    Yes,
    No,
}

/// Starts a command of a process: itself, or its check. It gets a group of its own
/// and ends with the supervisor.
pub(super) fn start(
    shared: &Shared,
    process: &ProcessSpec,
    command: &[String],
    ports: &BTreeMap<String, u16>,
    heard: Heard,
) -> std::io::Result<Started> {
    let assignment = &shared.assignment;
    let restrictions = Restrictions {
        parent: rustix::process::getpid().as_raw_nonzero().get(),
        memory: process.limits.memory.map_or(assignment.memory, |limit| limit.0.min(assignment.memory)),
        open_files: match process.limits.open_files {
            Some(files) => OpenFiles::Most(files),
            None => OpenFiles::AtFirst(assignment.open_files),
        },
        processes: process.limits.processes,
    };
    let piped = || if heard == Heard::Yes { Stdio::piped() } else { Stdio::null() };
    // This very program, also when its file was replaced since.
    let mut child = Command::new("/proc/self/exe")
        .args(&assignment.supervise)
        .args(restrictions.arguments())
        .args(command.first().map(|word| match word.as_str() {
            OWN => assignment.program.as_os_str(),
            word => word.as_ref(),
        }))
        .args(command.get(1..).unwrap_or_default())
        .env_clear()
        .envs(environment(shared, process, ports))
        .current_dir(&assignment.work)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(piped())
        .stderr(piped())
        .spawn()?;
    let pid = i32::try_from(child.id()).map_err(std::io::Error::other)?;
    let ended = shared.reaper.watch(pid);
    let mut outputs: Vec<(&'static str, OwnedFd)> = Vec::new();
    outputs.extend(child.stdout.take().map(|pipe| ("stdout", pipe.into())));
    outputs.extend(child.stderr.take().map(|pipe| ("stderr", pipe.into())));
    Ok(Started { pid, ended, outputs })
}

/// Later ones take the place of earlier ones.
fn environment(
    shared: &Shared,
    process: &ProcessSpec,
    ports: &BTreeMap<String, u16>,
) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = shared.assignment.base.iter().cloned().collect();
    environment.extend(process.environment.clone());
    for (name, port) in ports {
        environment.insert(format!("PORT_{}", name.to_uppercase().replace('-', "_")), port.to_string());
        if ports.len() == 1 {
            environment.insert("PORT".to_owned(), port.to_string());
        }
    }
    environment.extend(shared.assignment.given.iter().cloned());
    environment.insert(PROCESS.to_owned(), process.name.clone());
    environment
}

/// Where it answers: on the port of its check, else its only one or that named
/// `http`.
pub(super) fn endpoint(process: &ProcessSpec, ports: &BTreeMap<String, u16>) -> Option<String> {
    let checked = match &process.ready {
        Some(Ready::Http { port, .. } | Ready::Tcp { port }) => Some(port.as_str()),
        _ => None,
    };
    let only = ports.keys().next().filter(|_| ports.len() == 1).map(String::as_str);
    let port = ports.get(checked.or(only).unwrap_or("http"))?;
    Some(format!("http://{}:{port}", Ipv4Addr::LOCALHOST))
}
