//! Ending what is below the supervisor.

use std::time::Duration;

use futures::FutureExt;
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use super::super::PROCESS;
use super::super::proc::{self, Seen};
use super::{ORPHAN_GRACE, Shared};

/// How long killed processes may take to be gone.
const KILL_BOUND: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(10);

/// Ends everything: SIGTERM, and SIGKILL after the grace, until nothing is left. Once it
/// is orphaned, the grace of orphans is all that is left of it.
pub(super) async fn everything(
    shared: &Shared,
    grace: Duration,
    orphaned: impl Future<Output = ()>,
) -> Result<(), String> {
    for seen in below()? {
        send(&seen, Signal::TERM);
    }
    let mut deadline = Instant::now() + grace;
    let mut orphaned = std::pin::pin!(orphaned.fuse());
    while Instant::now() < deadline {
        shared.reaper.reap();
        if below()?.is_empty() {
            return Ok(());
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = &mut orphaned => deadline = deadline.min(Instant::now() + ORPHAN_GRACE),
        }
    }
    kill(shared, |_| true).await
}

/// Kills what a process that has ended has left: its group, and what carries its
/// name.
pub(super) async fn rest_of(shared: &Shared, name: &str, group: i32) -> Result<(), String> {
    kill(shared, |seen| {
        seen.group == group
            || seen.environment().is_some_and(|environment| environment.get(PROCESS) == Some(name))
    })
    .await
}

/// Kills what is in a group now, and is below the supervisor.
pub(super) fn kill_group(group: i32) {
    for seen in below().unwrap_or_default().iter().filter(|seen| seen.group == group) {
        send(seen, Signal::KILL);
    }
}

async fn kill(shared: &Shared, is_meant: impl Fn(&Seen) -> bool) -> Result<(), String> {
    let killed = async {
        loop {
            shared.reaper.reap();
            let left: Vec<Seen> = below()?.into_iter().filter(&is_meant).collect();
            if left.is_empty() {
                return Ok(());
            }
            for seen in left {
                send(&seen, Signal::KILL);
            }
            sleep(PAUSE).await;
        }
    };
    timeout(KILL_BOUND, killed).await.unwrap_or_else(|_| Err("killed processes do not end".to_owned()))
}

/// One that may not be signalled is still there in the next look, and then at the end
/// of the bound.
fn send(seen: &Seen, signal: Signal) {
    seen.signal(signal).ok();
}

fn below() -> Result<Vec<Seen>, String> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    proc::descendants(own).map_err(|error| format!("/proc cannot be read: {error}"))
}
