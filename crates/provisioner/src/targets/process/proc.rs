//! The processes of this machine, as `/proc` shows them.

use std::collections::BTreeSet;
use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) group: i32,
    /// When it was started, in ticks: with the id it names one process for ever.
    started: u64,
    /// It has ended and waits to be reaped.
    pub(super) ended: bool,
}

/// Every process.
pub(super) fn all() -> io::Result<Vec<Seen>> {
    let mut processes = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        // One that has gone in between is none.
        processes.extend(pid.and_then(read));
    }
    Ok(processes)
}

/// Every process below this one that has not ended.
pub(super) fn descendants(of: i32) -> io::Result<Vec<Seen>> {
    let all = all()?;
    let mut below = BTreeSet::from([of]);
    loop {
        let before = below.len();
        below.extend(
            all.iter().filter(|seen| below.contains(&seen.parent)).map(|seen| seen.pid).collect::<Vec<_>>(),
        );
        if below.len() == before {
            break;
        }
    }
    Ok(all.into_iter().filter(|seen| seen.pid != of && !seen.ended && below.contains(&seen.pid)).collect())
}

fn read(pid: i32) -> Option<Seen> {
    parse(pid, &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name stands in parentheses and may hold any character, so fields are counted
/// from its end.
fn parse(pid: i32, stat: &str) -> Option<Seen> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    Some(Seen {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
        ended: matches!(*fields.first()?, "Z" | "X" | "x"),
    })
}

impl Seen {
    /// Sends a signal to exactly the process that was seen, never to another that has
    /// got its id since. One that has ended is no error.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(()) };
        let gone = |error: rustix::io::Errno| {
            if error == rustix::io::Errno::SRCH { Ok(()) } else { Err(error.into()) }
        };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(error) => return gone(error),
        };
        if read(self.pid).is_none_or(|now| now.started != self.started) {
            return Ok(());
        }
        pidfd_send_signal(&handle, signal).or_else(gone)
    }

    /// The environment that it was started with; `None` when it cannot be read: it has
    /// ended, or belongs to somebody else.
    pub(super) fn environment(&self) -> Option<Environment> {
        let bytes = std::fs::read(format!("/proc/{}/environ", self.pid)).ok()?;
        (read(self.pid)?.started == self.started).then_some(Environment(bytes))
    }
}

/// The environment of a process.
pub(super) struct Environment(Vec<u8>);

impl Environment {
    /// The value of a variable.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = |line| {
            let line: &str = str::from_utf8(line).ok()?;
            line.strip_prefix(name)?.strip_prefix('=')
        };
        self.0.split(|byte| *byte == 0).find_map(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_move_the_fields() {
        let stat = "7 (a) Z 1 (b) S 3 5 6 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9911 0 0";
        let seen = parse(7, stat).unwrap();
        assert_eq!((seen.parent, seen.group, seen.started, seen.ended), (3, 5, 9911, false));
    }

    #[test]
    fn a_process_sees_its_child_and_the_environment_of_it() {
        let mut child =
            std::process::Command::new("sleep").arg("60").env_clear().env("A", "1=2").spawn().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let id = i32::try_from(child.id()).unwrap();
        let seen = descendants(own).unwrap().into_iter().find(|seen| seen.pid == id).unwrap();
        let environment = seen.environment().unwrap();
        assert_eq!(environment.get("A"), Some("1=2"));
        assert_eq!(environment.get("B"), None);
        seen.signal(Signal::KILL).unwrap();
        child.wait().unwrap();
        seen.signal(Signal::KILL).unwrap();
        assert!(!all().unwrap().contains(&seen));
    }
}
