//! A supervisor, as Orderwire sees it.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{Mutex, Notify, broadcast, watch};
use tokio::time::timeout;

use super::protocol::{Command, LINE_BYTES_MAX, OutputLine, ProcessState, Report, line};
use super::target::ProcessOptions;
use super::{HOME, SUPERVISES};
use crate::target::{Error, Manifest, Placement};

/// How long a supervisor may take to get the lock and begin.
const START_BOUND: Duration = Duration::from_secs(20);
/// How long it may take beyond the grace to kill what is left and end.
const END_MARGIN: Duration = Duration::from_secs(8);
/// A supervisor that has missed so many reports in a row hangs. Each is waited for by
/// itself, so that time in which Orderwire itself did not run counts once.
const MISSES_MAX: u32 = 4;
/// How long a killed supervisor may take to be gone.
const KILL_BOUND: Duration = Duration::from_secs(5);
/// How long it may take to tell it to end.
const TELL_BOUND: Duration = Duration::from_secs(1);
/// How long an end may take beyond the grace, all in all.
pub(super) const END_BOUND: Duration = TELL_BOUND.saturating_add(END_MARGIN).saturating_add(KILL_BOUND);

/// The supervisor of a release. Dropped, it ends with everything below it.
pub(super) struct Supervised {
    /// What it runs.
    pub(super) manifests: Vec<Manifest>,
    /// SHA-256 of what it was given.
    pub(super) grant: [u8; 32],
    /// Which revision was handed over last: several may be the same.
    revision: AtomicU64,
    grace: Duration,
    stdin: Mutex<ChildStdin>,
    status: watch::Receiver<Status>,
    ending: AtomicBool,
    kill: std::sync::Arc<Notify>,
}

/// What a supervisor has told last.
#[derive(Clone, Debug, Default)]
pub(super) struct Status {
    accepted: bool,
    pub(super) states: Vec<ProcessState>,
    /// Why it does not run any more.
    pub(super) ended: Option<String>,
}

/// What a supervisor is started with.
pub(super) struct Start<'a> {
    pub(super) options: &'a ProcessOptions,
    pub(super) placement: &'a Placement,
    pub(super) trace: String,
    /// A line to it: [`super::protocol::Assignment`].
    pub(super) assignment: &'a [u8],
    pub(super) manifests: Vec<Manifest>,
    pub(super) grant: [u8; 32],
    pub(super) revision: u64,
    pub(super) changed: broadcast::Sender<uuid::Uuid>,
}

impl Supervised {
    /// Starts one and returns when it has taken over. Dropped before that, the
    /// supervisor ends by itself.
    pub(super) async fn start(start: Start<'_>) -> Result<Self, Error> {
        let mut child = spawn(&start)?;
        let mut stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let (status, mut seen) = watch::channel(Status::default());
        let kill = std::sync::Arc::new(Notify::new());
        let listener = Listener {
            labels: Labels::of(&start),
            status,
            changed: start.changed.clone(),
            release: start.placement.release,
            beat: start.options.beat,
            running: 0,
        };
        tokio::spawn(listener.listen(child, stdout, kill.clone()));
        let taken_over = async {
            // A supervisor that ends at once says why; the broken pipe says less.
            let written = stdin.write_all(start.assignment).await;
            let status = seen.wait_for(|status| status.accepted || status.ended.is_some()).await;
            let ended = status.map_or(Some("it was lost".to_owned()), |status| status.ended.clone());
            match (ended, written) {
                (Some(reason), _) => Err(reason),
                (None, written) => written.map_err(|error| error.to_string()),
            }
        };
        let result =
            timeout(START_BOUND, taken_over).await.unwrap_or_else(|_| Err("it took too long".to_owned()));
        if let Err(reason) = result {
            kill.notify_one();
            return Err(Error::Unavailable(format!("the supervisor of the release did not start: {reason}")));
        }
        Ok(Self {
            manifests: start.manifests,
            grant: start.grant,
            revision: start.revision.into(),
            grace: start.options.grace,
            stdin: Mutex::new(stdin),
            status: seen,
            ending: AtomicBool::new(false),
            kill,
        })
    }

    /// The revision that was handed over last.
    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    /// Another revision, of which everything runs already.
    pub(super) fn hand_over(&self, revision: u64) {
        self.revision.store(revision, Ordering::Relaxed);
    }

    /// What it has told last.
    pub(super) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Whether it has been told to end, or has ended.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed) || self.status.borrow().ended.is_some()
    }

    /// Ends it and everything below it; bounded. May be called again.
    pub(super) async fn end(&self) -> Result<(), Error> {
        self.ending.store(true, Ordering::Relaxed);
        let gone = |bound| {
            let mut status = self.status.clone();
            // An error is a listener that is gone, and with it the supervisor.
            async move { timeout(bound, status.wait_for(|status| status.ended.is_some())).await.is_ok() }
        };
        let told = async {
            let mut stdin = self.stdin.lock().await;
            stdin
                .write_all(&line(&Command::End)?)
                .await
                .map_err(|error| Error::Unavailable(error.to_string()))
        };
        // It cannot be told when it has ended by itself, which the wait finds out.
        let told = timeout(TELL_BOUND, told).await;
        let patience = if matches!(told, Ok(Ok(()))) { self.grace + END_MARGIN } else { END_MARGIN };
        if gone(patience).await {
            return Ok(());
        }
        self.kill.notify_one();
        if gone(KILL_BOUND).await {
            return Ok(());
        }
        Err(Error::Unavailable("the supervisor of the release does not end: end it by hand".to_owned()))
    }
}

/// It gets nothing of Orderwire's own environment, and a group of its own, so that
/// ^C on a terminal reaches Orderwire alone, which then ends it in order.
fn spawn(start: &Start<'_>) -> Result<Child, Error> {
    let ProcessOptions { program, supervise, folder, .. } = start.options;
    tokio::process::Command::new(program)
        .args(supervise)
        .env_clear()
        .env(HOME, folder)
        .env(SUPERVISES, start.placement.release.to_string())
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| Error::Unavailable(format!("{} cannot be started: {error}", program.display())))
}

/// What is on every line of output.
struct Labels {
    trace: String,
    client: String,
    release: String,
    product: String,
}

impl Labels {
    fn of(start: &Start<'_>) -> Self {
        Self {
            trace: start.trace.clone(),
            client: start.placement.client.to_string(),
            release: start.placement.release.to_string(),
            product: start.placement.product.clone(),
        }
    }

    fn log(&self, line: &OutputLine) {
        if line.dropped > 0 {
            metrics::counter!("orderwire_target_output_dropped_total").increment(line.dropped);
            tracing::warn!(
                target: "orderwire::output",
                trace_id = self.trace,
                client = self.client,
                release = self.release,
                product = self.product,
                process = line.process,
                stream = line.stream,
                "{} lines dropped: it writes too many",
                line.dropped
            );
        }
        tracing::info!(
            target: "orderwire::output",
            trace_id = self.trace,
            client = self.client,
            release = self.release,
            product = self.product,
            process = line.process,
            stream = line.stream,
            "{}",
            line.text
        );
    }
}

/// How a supervisor falls silent.
enum Heard {
    /// It has said its last; why it refused, if it did.
    End(Option<String>),
    /// It hangs.
    Nothing,
}

/// Hears a supervisor until it is gone.
struct Listener {
    labels: Labels,
    status: watch::Sender<Status>,
    changed: broadcast::Sender<uuid::Uuid>,
    release: uuid::Uuid,
    /// The longest time between two reports.
    beat: Duration,
    /// How many processes it runs, as the gauge counts them.
    running: u32,
}

impl Listener {
    async fn listen(mut self, mut child: Child, stdout: ChildStdout, kill: std::sync::Arc<Notify>) {
        let (told, patience) = tokio::select! {
            heard = self.hear(stdout) => match heard {
                Heard::End(told) => (told, KILL_BOUND),
                Heard::Nothing => (Some("its supervisor hung and was killed".to_owned()), Duration::ZERO),
            },
            () = kill.notified() => (None, Duration::ZERO),
        };
        // Its output has ended, so it has ended or will do nothing sensible any more.
        let exited = match timeout(patience, child.wait()).await {
            Ok(exited) => exited,
            Err(_) => {
                if let Err(error) = child.start_kill() {
                    tracing::error!(release.id = %self.release, %error, "the supervisor cannot be killed");
                }
                child.wait().await
            }
        };
        let exited = exited.map_or_else(|error| error.to_string(), |status| status.to_string());
        self.count(0);
        self.status.send_modify(|status| {
            status.states.clear();
            status.ended = Some(told.unwrap_or_else(|| format!("its supervisor has ended: {exited}")));
        });
        self.tell();
    }

    /// Returns at the end of what it says, or when it says nothing any more.
    async fn hear(&mut self, stdout: ChildStdout) -> Heard {
        let mut stdout = BufReader::new(stdout);
        let mut text = Vec::new();
        loop {
            text.clear();
            let accepted = self.status.borrow().accepted;
            let mut limited = (&mut stdout).take(LINE_BYTES_MAX as u64);
            let mut reading = std::pin::pin!(limited.read_until(b'\n', &mut text));
            let mut misses = 0;
            let length = loop {
                match timeout(self.beat, &mut reading).await {
                    Ok(length) => break length,
                    // How long it may take to begin is bounded by who starts it.
                    Err(_) if !accepted => {}
                    Err(_) if misses + 1 == MISSES_MAX => {
                        tracing::error!(release.id = %self.release, "the supervisor hangs and is killed");
                        return Heard::Nothing;
                    }
                    Err(_) => misses += 1,
                }
            };
            if length.is_err() || text.last() != Some(&b'\n') {
                return Heard::End(None);
            }
            match serde_json::from_slice(&text) {
                Ok(Report::Accepted) => self.status.send_modify(|status| status.accepted = true),
                Ok(Report::Refused(reason)) => return Heard::End(Some(reason)),
                Ok(Report::Alive) => {}
                Ok(Report::Output(line)) => self.labels.log(&line),
                Ok(Report::States(states)) => {
                    self.count(states.iter().map(|state| u32::from(state.phase.runs())).sum());
                    self.status.send_modify(|status| status.states = states);
                    self.tell();
                }
                Err(error) => {
                    tracing::error!(release.id = %self.release, %error, "the supervisor says what nobody understands");
                    return Heard::End(None);
                }
            }
        }
    }

    fn count(&mut self, running: u32) {
        metrics::gauge!("orderwire_target_processes").increment(f64::from(running) - f64::from(self.running));
        self.running = running;
    }

    /// Nobody may listen.
    fn tell(&self) {
        self.changed.send(self.release).ok();
    }
}
