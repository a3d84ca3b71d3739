//! The stage between the supervisor and a program: a process that limits itself,
//! ties itself to its supervisor, and then becomes the program.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::process::{Resource, Rlimit, Signal, getpid, getppid, getrlimit, setrlimit};

/// What follows are the limits and the command.
pub(super) const FLAG: &str = "--exec";

/// What a shell says of a command that cannot be started.
const CANNOT_START: u8 = 127;

/// How many files a program may open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum OpenFiles {
    /// So many.
    Most(u64),
    /// So many until it asks for more; `None` is no limit.
    AtFirst(Option<u64>),
}

/// The limits of a program.
pub(super) struct Restrictions {
    /// The supervisor.
    pub(super) parent: i32,
    pub(super) memory: u64,
    pub(super) open_files: OpenFiles,
    pub(super) processes: Option<u64>,
}

impl Restrictions {
    /// As arguments, which anybody may see.
    pub(super) fn arguments(&self) -> Vec<String> {
        let or_none = |limit: Option<u64>| limit.map_or("-".to_owned(), |limit| limit.to_string());
        vec![
            FLAG.to_owned(),
            self.parent.to_string(),
            self.memory.to_string(),
            match self.open_files {
                OpenFiles::Most(files) => format!("={files}"),
                OpenFiles::AtFirst(files) => or_none(files),
            },
            or_none(self.processes),
        ]
    }

    fn parse(arguments: &[OsString]) -> Option<(Self, &[OsString])> {
        let text = |index: usize| arguments.get(index)?.to_str();
        let limit = |index: usize| match text(index)? {
            "-" => Some(None),
            number => number.parse().ok().map(Some),
        };
        let restrictions = Self {
            parent: text(0)?.parse().ok()?,
            memory: text(1)?.parse().ok()?,
            open_files: match text(2)?.strip_prefix('=') {
                Some(files) => OpenFiles::Most(files.parse().ok()?),
                None => OpenFiles::AtFirst(limit(2)?),
            },
            processes: limit(3)?,
        };
        Some((restrictions, arguments.get(4..)?))
    }

    fn impose(&self) -> rustix::io::Result<()> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        lower(Resource::Core, 0)?;
        // Of the data rather than of the addresses: many run-times reserve far more
        // addresses than they use.
        lower(Resource::Data, self.memory)?;
        match self.open_files {
            OpenFiles::Most(files) => lower(Resource::Nofile, files)?,
            OpenFiles::AtFirst(files) => {
                let maximum = getrlimit(Resource::Nofile).maximum;
                setrlimit(Resource::Nofile, Rlimit { current: least(files, maximum), maximum })?;
            }
        }
        if let Some(processes) = self.processes {
            // The kernel counts all of the user, whoever started them.
            lower(Resource::Nproc, processes.saturating_add(threads_of_user()))?;
        }
        Ok(())
    }
}

/// Becomes the program; returns only when that fails.
pub(super) fn exec(arguments: &[OsString]) -> ExitCode {
    let Some((restrictions, [program, words @ ..])) = Restrictions::parse(arguments) else {
        return failed("this is started by a supervisor");
    };
    if let Err(error) = restrictions.impose() {
        return failed(&format!("its limits cannot be set: {error}"));
    }
    // The supervisor may have ended before the signal was set.
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(restrictions.parent) {
        return failed("its supervisor has ended");
    }
    let error = Command::new(program).args(words).exec();
    failed(&format!("{} cannot be started: {error}", program.display()))
}

fn failed(reason: &str) -> ExitCode {
    // Without anybody to read it the exit code has to do.
    writeln!(std::io::stderr(), "{reason}").ok();
    ExitCode::from(CANNOT_START)
}

/// A limit that is lower already stays.
fn lower(resource: Resource, limit: u64) -> rustix::io::Result<()> {
    let limit = least(Some(limit), getrlimit(resource).maximum);
    setrlimit(resource, Rlimit { current: limit, maximum: limit })
}

/// Of two limits, of which none is no limit.
fn least(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

fn threads_of_user() -> u64 {
    let status = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/status")).ok();
    let field = |status: &str, name: &str| -> Option<u64> {
        status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    };
    let own = status(&getpid().to_string()).and_then(|status| field(&status, "Uid:"));
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    let statuses = entries.flatten().filter_map(|entry| status(entry.file_name().to_str()?));
    statuses
        .filter(|status| field(status, "Uid:") == own)
        .filter_map(|status| field(&status, "Threads:"))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_as_they_are_written() {
        for files in [OpenFiles::Most(64), OpenFiles::AtFirst(Some(64)), OpenFiles::AtFirst(None)] {
            let given = Restrictions { parent: 7, memory: 1 << 20, open_files: files, processes: None };
            let words: Vec<OsString> =
                given.arguments().into_iter().chain(["sh".to_owned()]).map(Into::into).collect();
            let (read, rest) = Restrictions::parse(&words[1..]).unwrap();
            assert_eq!(
                (read.parent, read.memory, read.open_files, read.processes),
                (7, 1 << 20, files, None)
            );
            assert_eq!(rest, ["sh"]);
        }
    }
}
