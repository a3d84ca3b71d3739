//! What Orderwire and a supervisor tell each other, a line of JSON each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::manifest::ProcessSpec;
use crate::target::Error;

/// The longest line, either way. An assignment is checked against it before it is
/// sent.
pub(super) const LINE_BYTES_MAX: usize = 16 << 20;
/// The longest line of output that is forwarded.
pub(super) const TEXT_BYTES_MAX: usize = 8 << 10;

/// The first line to a supervisor: all that it has to do. It holds secrets, so it
/// is never logged.
#[derive(Serialize, Deserialize)]
pub(super) struct Assignment {
    /// Held while anything of the release runs.
    pub(super) lock: PathBuf,
    /// Where free ports are remembered.
    pub(super) ports: PathBuf,
    /// The working folder.
    pub(super) work: PathBuf,
    /// What the word `orderwire` in a command stands for.
    pub(super) program: PathBuf,
    /// The arguments that make that program a supervisor.
    pub(super) supervise: Vec<String>,
    /// Between SIGTERM and SIGKILL.
    pub(super) grace: Duration,
    /// The longest time between two of its reports.
    pub(super) beat: Duration,
    /// The most memory of a process, in bytes.
    pub(super) memory: u64,
    /// How many files a process may open whose manifest says nothing; `None` is no limit.
    pub(super) open_files: Option<u64>,
    /// Before a process's own environment.
    pub(super) base: Vec<(String, String)>,
    /// After it, so that a product cannot set these.
    pub(super) given: Vec<(String, String)>,
    /// What to run.
    pub(super) processes: Vec<ProcessSpec>,
}

/// A later line to a supervisor.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Command {
    /// End everything, with the whole grace.
    End,
}

/// A line from a supervisor.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// It holds the lock and starts its processes now.
    Accepted,
    /// It does not: in plain words.
    Refused(String),
    /// How all of its processes are.
    States(Vec<ProcessState>),
    /// A line of output.
    Output(OutputLine),
    /// It has nothing else to report.
    Alive,
}

/// How a process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessState {
    pub(super) name: String,
    pub(super) phase: Phase,
    /// Why it is not ready, in plain words.
    pub(super) reason: Option<String>,
    /// How often it was started again.
    pub(super) restarts: u32,
    /// Where it answers.
    pub(super) endpoint: Option<String>,
    /// Its ports, by name, since it was started last.
    #[serde(default)]
    pub(super) ports: BTreeMap<String, u16>,
}

/// Where in its life a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// It does not run yet.
    Starting,
    /// It runs and has not been ready.
    Running,
    /// It is ready.
    Ready,
    /// It runs, was ready and is not.
    Unready,
    /// It has ended and is started again later.
    Exited,
    /// It has ended too often and is not started again.
    Failed,
}

impl Phase {
    /// Whether a process of the operating system is behind it.
    pub(super) fn runs(self) -> bool {
        matches!(self, Self::Running | Self::Ready | Self::Unready)
    }
}

/// A line that a process wrote.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OutputLine {
    pub(super) process: String,
    /// `stdout` or `stderr`.
    pub(super) stream: String,
    pub(super) text: String,
    /// How many lines before this one were dropped, because there were too many.
    #[serde(default)]
    pub(super) dropped: u64,
}

/// As it is sent.
pub(super) fn line(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut line = serde_json::to_vec(value).map_err(|error| Error::Refused(error.to_string()))?;
    if line.len() >= LINE_BYTES_MAX {
        return Err(Error::Refused(
            "the processes of the release are too much text to start them".to_owned(),
        ));
    }
    line.push(b'\n');
    Ok(line)
}
