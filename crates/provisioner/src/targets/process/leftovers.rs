//! Processes that nobody watches any more: both Orderwire and their supervisor were
//! killed. They are known by the environment that they were started with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use uuid::Uuid;

use super::proc::{self, Seen};
use super::{HOME, PROCESS, RELEASE, SUPERVISES};
use crate::target::Error;

/// How long a supervisor that has lost its Orderwire may take to end what is below
/// it before it is killed: longer than the grace that it gives then.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take until all are gone.
const BOUND: Duration = Duration::from_secs(15);
/// How long it may take at the end of a drain.
pub(super) const STOP_BOUND: Duration = Duration::from_secs(3);
const SECOND_LOOK: Duration = Duration::from_millis(3);
const PAUSE: Duration = Duration::from_millis(20);

/// A process that carries the folder of releases in its environment.
struct Marked {
    seen: Seen,
    role: Role,
    release: String,
}

enum Role {
    Supervisor,
    /// The name of the process that it is, or comes from.
    Process(String),
}

/// Ends everything that runs for a release which no supervisor of this Orderwire
/// watches. Returns the names of its processes. Blocks.
pub(super) fn clear(home: &Path, release: Uuid) -> Result<BTreeSet<String>, Error> {
    let release = release.to_string();
    let started = Instant::now();
    let mut names = BTreeSet::new();
    let mut was_empty = false;
    loop {
        let left: Vec<Marked> =
            marked(home)?.into_iter().filter(|marked| marked.release == release).collect();
        if left.is_empty() {
            // One that becomes another program at this moment shows no environment.
            if was_empty {
                return Ok(names);
            }
            was_empty = true;
            std::thread::sleep(SECOND_LOOK);
            continue;
        }
        was_empty = false;
        if started.elapsed() > BOUND {
            let pids: Vec<String> = left.iter().map(|marked| marked.seen.pid.to_string()).collect();
            return Err(Error::Unavailable(format!(
                "processes of release {release} do not end: end them by hand, then try again: pid {}",
                pids.join(", ")
            )));
        }
        let ends_by_itself = left.iter().any(|marked| matches!(marked.role, Role::Supervisor));
        for marked in &left {
            if let Role::Process(name) = &marked.role {
                names.insert(name.clone());
            }
            if !ends_by_itself || started.elapsed() > PATIENCE {
                kill(&marked.seen)?;
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// Kills what no supervisor watches, until nothing of it is left; bounded. Blocks.
pub(super) fn kill_all(home: &Path) -> Result<(), Error> {
    let started = Instant::now();
    let mut was_empty = false;
    loop {
        let killed = kill_unsupervised(home)?;
        if killed == 0 && was_empty {
            return Ok(());
        }
        // One that becomes another program at this moment shows no environment.
        was_empty = killed == 0;
        if started.elapsed() > STOP_BOUND {
            return Err(Error::Unavailable(format!("{killed} processes do not end: end them by hand")));
        }
        std::thread::sleep(if was_empty { SECOND_LOOK } else { PAUSE });
    }
}

/// Kills, in one pass, what runs for any release of this folder and is not below a
/// supervisor: those end by themselves what is below them. Returns how many. Blocks.
pub(super) fn kill_unsupervised(home: &Path) -> Result<usize, Error> {
    let marked = marked(home)?;
    let parents: BTreeMap<i32, i32> = all()?.iter().map(|seen| (seen.pid, seen.parent)).collect();
    let supervisors: BTreeSet<i32> = marked
        .iter()
        .filter(|marked| matches!(marked.role, Role::Supervisor))
        .map(|marked| marked.seen.pid)
        .collect();
    let mut killed = 0;
    for Marked { seen, .. } in &marked {
        let supervised = std::iter::successors(Some(seen.pid), |pid| parents.get(pid).copied())
            .take(parents.len() + 1)
            .any(|pid| supervisors.contains(&pid));
        if !supervised {
            kill(seen)?;
            killed += 1;
        }
    }
    Ok(killed)
}

fn marked(home: &Path) -> Result<Vec<Marked>, Error> {
    let home = home.to_string_lossy();
    let of = |seen: Seen| {
        let environment = seen.environment()?;
        if environment.get(HOME)? != home {
            return None;
        }
        if let Some(release) = environment.get(SUPERVISES) {
            return Some(Marked { seen, role: Role::Supervisor, release: release.to_owned() });
        }
        let release = environment.get(RELEASE)?.to_owned();
        let name = environment.get(PROCESS).unwrap_or_default().to_owned();
        Some(Marked { seen, role: Role::Process(name), release })
    };
    Ok(all()?.into_iter().filter(|seen| !seen.ended).filter_map(of).collect())
}

fn all() -> Result<Vec<Seen>, Error> {
    proc::all().map_err(|error| Error::Unavailable(format!("/proc cannot be read: {error}")))
}

fn kill(seen: &Seen) -> Result<(), Error> {
    seen.signal(Signal::KILL)
        .map_err(|error| Error::Unavailable(format!("process {} cannot be killed: {error}", seen.pid)))
}
