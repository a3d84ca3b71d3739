//! The supervisor of a release: a whole program, on one thread.
//!
//! It is the reaper of everything below it, so that a process that makes itself a
//! daemon stays in sight, and ends with its standard input.

mod board;
mod end;
mod exec;
mod keep;
mod output;
mod ports;
mod ready;
mod reaper;
mod start;

use std::fs::File;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FlockOperation;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::board::Board;
use self::ports::Ports;
use self::reaper::Reaper;
use super::protocol::{Assignment, Command, LINE_BYTES_MAX, OutputLine, Report};

/// How long an earlier supervisor may take to let go of the lock.
const LOCK_BOUND: Duration = Duration::from_secs(10);
/// How long Orderwire may take to say what to do.
const ASSIGNMENT_BOUND: Duration = Duration::from_secs(30);
/// The grace when Orderwire is gone: whoever starts it again waits for this.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);
/// How long the last words may take to be heard.
const FLUSH_BOUND: Duration = Duration::from_millis(500);
/// After this long without a line of output there is none any more.
const LULL: Duration = Duration::from_millis(20);
/// Lines of output that wait to be forwarded; those beyond are dropped.
const OUTPUT_LINES_MAX: usize = 1_024;

/// The program behind the hidden subcommand `supervise`: the supervisor of a release,
/// or, with `--exec`, the stage in which one of its processes limits itself. Reads
/// the arguments of the process itself.
pub fn supervise() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.by_ref().any(|argument| argument == exec::FLAG) {
        return exec::exec(&arguments.collect::<Vec<_>>());
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    match runtime.block_on(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => failed(&reason),
    }
}

fn failed(reason: &str) -> ExitCode {
    use std::io::Write;
    // Nobody may listen any more.
    writeln!(std::io::stderr(), "orderwire supervise: {reason}").ok();
    ExitCode::FAILURE
}

/// What the parts of a supervisor share.
struct Shared {
    assignment: Assignment,
    board: Board,
    reaper: Reaper,
    ports: Ports,
    output: mpsc::Sender<OutputLine>,
}

async fn run() -> Result<(), String> {
    let (mut commands, mut reports) = pipes()?;
    let assignment = timeout(ASSIGNMENT_BOUND, read_line(&mut commands));
    let assignment = assignment.await.map_err(|_| "nothing said what to do".to_owned())?;
    // The end of the input before the first line: Orderwire was gone at once.
    let Some(assignment) = assignment else { return Ok(()) };
    let prepared = tokio::select! {
        prepared = prepare(&assignment) => prepared,
        _ = read_line(&mut commands) => return Ok(()),
    };
    let (assignment, lock) = match prepared {
        Ok(prepared) => prepared,
        Err(reason) => {
            let report = Report::Refused(reason.clone());
            return say(&mut reports, &report).await.map_err(|_| reason);
        }
    };
    if say(&mut reports, &Report::Accepted).await.is_err() {
        return Ok(());
    }
    let (output, lines) = mpsc::channel(OUTPUT_LINES_MAX);
    let ports = Ports::open(&assignment.ports);
    let board = Board::new(&assignment.processes);
    let shared = Arc::new(Shared { assignment, board, reaper: Reaper::default(), ports, output });
    let mut talk = tokio::spawn(talk(shared.clone(), reports, lines));
    let grace = work(&shared, &mut commands, &mut talk).await?;
    // Whoever told it to end may be gone before everything has ended.
    let orphaned = async { while read_line(&mut commands).await.is_some() {} };
    let ended = end::everything(&shared, grace, orphaned).await;
    shared.board.close();
    // It has nobody to talk to when Orderwire is gone.
    timeout(FLUSH_BOUND, talk).await.ok();
    drop(lock);
    ended
}

/// Runs everything until it has to end; returns the grace.
async fn work(
    shared: &Arc<Shared>,
    commands: &mut Commands,
    talk: &mut tokio::task::JoinHandle<()>,
) -> Result<Duration, String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut children = signal(SignalKind::child()).map_err(|error| error.to_string())?;
    let grace = shared.assignment.grace;
    // Dropped at the end of this function, so that nothing starts from then on.
    let mut processes = JoinSet::new();
    for process in &shared.assignment.processes {
        processes.spawn(keep::keep(shared.clone(), process.clone()));
    }
    loop {
        tokio::select! {
            _ = children.recv() => shared.reaper.reap(),
            line = read_line(commands) => return match line.map(|line| serde_json::from_slice(&line)) {
                Some(Ok(Command::End)) => Ok(grace),
                _ => Ok(grace.min(ORPHAN_GRACE)),
            },
            _ = terminate.recv() => return Ok(grace),
            _ = &mut *talk => return Ok(grace.min(ORPHAN_GRACE)),
        }
    }
}

type Commands = BufReader<pipe::Receiver>;

/// The standard input and output, without a thread that blocks on them.
fn pipes() -> Result<(Commands, pipe::Sender), String> {
    let open = || {
        let input = std::io::stdin().as_fd().try_clone_to_owned()?;
        let output = std::io::stdout().as_fd().try_clone_to_owned()?;
        Ok((pipe::Receiver::from_owned_fd(input)?, pipe::Sender::from_owned_fd(output)?))
    };
    let (input, output) = open().map_err(|error: std::io::Error| {
        format!("this is started by Orderwire itself, with pipes to talk over: {error}")
    })?;
    Ok((BufReader::new(input), output))
}

/// The next line; `None` at the end, or when it is too long.
///
/// Not safe to drop half-way, but for the one that waits for the end.
async fn read_line(commands: &mut Commands) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    (&mut *commands).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line).await.ok()?;
    (line.last() == Some(&b'\n')).then_some(line)
}

async fn prepare(line: &[u8]) -> Result<(Assignment, File), String> {
    let assignment: Assignment =
        serde_json::from_slice(line).map_err(|error| format!("its assignment cannot be read: {error}"))?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| format!("it cannot become the reaper of its processes: {error}"))?;
    let lock = File::options().create(true).truncate(false).write(true).open(&assignment.lock);
    let lock = lock.map_err(|error| format!("{} cannot be opened: {error}", assignment.lock.display()))?;
    let locked = async {
        while let Err(error) = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(format!("{} cannot be locked: {error}", assignment.lock.display()));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    timeout(LOCK_BOUND, locked)
        .await
        .unwrap_or_else(|_| Err("another supervisor of the release does not end".to_owned()))?;
    Ok((assignment, lock))
}

/// Tells Orderwire how its processes are, and what they write, until the end.
async fn talk(shared: Arc<Shared>, mut reports: pipe::Sender, mut lines: mpsc::Receiver<OutputLine>) {
    loop {
        let report = tokio::select! {
            biased;
            changed = shared.board.changed() => match changed {
                Some(states) => Report::States(states),
                None => break,
            },
            Some(line) = lines.recv() => Report::Output(line),
            () = sleep(shared.assignment.beat) => Report::Alive,
        };
        if say(&mut reports, &report).await.is_err() {
            return;
        }
    }
    // The readers come to the end of what was written now.
    while let Ok(Some(line)) = timeout(LULL, lines.recv()).await {
        if say(&mut reports, &Report::Output(line)).await.is_err() {
            return;
        }
    }
}

async fn say(reports: &mut pipe::Sender, report: &Report) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    reports.write_all(&line).await
}
