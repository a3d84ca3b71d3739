//! Whether a process is ready.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::super::manifest::{ProcessSpec, Ready};
use super::super::protocol::Phase;
use super::output::Words;
use super::start::{Heard, start};
use super::{Shared, end};
use crate::probe;

/// Between two checks, until the first that succeeds.
const FIRST: Duration = Duration::from_millis(100);
/// Between two checks, afterwards.
const LATER: Duration = Duration::from_secs(2);
/// How long a check may take.
const BOUND: Duration = Duration::from_secs(2);

/// Says on the board how ready a process is, for as long as it runs. `was_ready` is
/// called the first time.
pub(super) async fn watch(
    shared: &Shared,
    process: &ProcessSpec,
    ports: &BTreeMap<String, u16>,
    words: &Words,
    mut was_ready: impl FnMut(),
) {
    let name = &process.name;
    let Some(ready) = &process.ready else {
        sleep(process.settle).await;
        was_ready();
        is_ready(shared, name);
        return std::future::pending().await;
    };
    if let Ready::Output(_) = ready {
        words.seen().await;
        was_ready();
        is_ready(shared, name);
        return std::future::pending().await;
    }
    let mut pause = FIRST;
    loop {
        let checked = timeout(BOUND, check(shared, process, ready, ports)).await;
        match checked.unwrap_or_else(|_| Err("its check took longer than 2s".to_owned())) {
            Ok(()) => {
                if pause == FIRST {
                    pause = LATER;
                    was_ready();
                }
                is_ready(shared, name);
            }
            Err(reason) => shared.board.update(name, |state| {
                let (phase, words) = match pause {
                    FIRST => (Phase::Running, "runs and is not ready yet"),
                    _ => (Phase::Unready, "was ready and is not any more"),
                };
                state.phase = phase;
                state.reason = Some(format!("process {name} {words}: {reason}"));
            }),
        }
        sleep(pause).await;
    }
}

fn is_ready(shared: &Shared, name: &str) {
    shared.board.update(name, |state| {
        state.phase = Phase::Ready;
        state.reason = None;
    });
}

async fn check(
    shared: &Shared,
    process: &ProcessSpec,
    ready: &Ready,
    ports: &BTreeMap<String, u16>,
) -> Result<(), String> {
    match ready {
        Ready::Http { port, path } => get(&of(ports, port)?, path).await,
        Ready::Tcp { port } => probe::connect(&of(ports, port)?).await.map(drop),
        Ready::Command(words) => command(shared, process, words, ports).await,
        Ready::Output(_) => Ok(()),
    }
}

/// The address of a port.
fn of(ports: &BTreeMap<String, u16>, name: &str) -> Result<String, String> {
    let port = ports.get(name).ok_or_else(|| format!("it has no port {name}"))?;
    Ok(format!("{}:{port}", Ipv4Addr::LOCALHOST))
}

/// The head of the answer is enough: its body is not read.
async fn get(address: &str, path: &str) -> Result<(), String> {
    let status = probe::get(address, path, 0).await?.status;
    if status.is_success() || status.is_redirection() {
        return Ok(());
    }
    Err(format!("GET {path} of {address} answered {status}"))
}

async fn command(
    shared: &Shared,
    process: &ProcessSpec,
    words: &[String],
    ports: &BTreeMap<String, u16>,
) -> Result<(), String> {
    let started = start(shared, process, words, ports, Heard::No)
        .map_err(|error| format!("its check cannot be started: {error}"))?;
    // A check that takes too long, or whose process ends meanwhile, is dropped here.
    let group = Group(started.pid);
    let status = started.ended.await.map_err(|_| "its check was lost".to_owned())?;
    drop(group);
    match status.exit_status() {
        Some(0) => Ok(()),
        _ => Err(format!("its check {}", super::reaper::in_words(status))),
    }
}

/// Kills what a check has started.
struct Group(i32);

impl Drop for Group {
    fn drop(&mut self) {
        end::kill_group(self.0);
    }
}
