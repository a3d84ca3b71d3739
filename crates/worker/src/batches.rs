//! What is tried with batches, wherever they come from: with time-outs, pauses and splitting.

use std::ops::Range;
use std::time::Duration;

use orderwire_types::QueueName;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::caught::catch_panic;
use crate::handler::BatchError;
use crate::pause::Pause;

/// How batches are handled.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// The most entries of one batch. Fewer are handled at once when fewer
    /// wait; batches grow with the backlog.
    pub batch_entries: usize,
    /// The most bytes of one batch, its first entry aside.
    pub batch_bytes: usize,
    /// How long a handler may take for one batch. One that takes longer again
    /// and again, while its store answers, is split.
    pub handler_timeout: Duration,
    /// The wait of one long poll.
    pub wait: Duration,
    /// The pause after a failure that may pass.
    pub pause: Pause,
    /// How long a stopping worker waits for its handler.
    pub drain: Duration,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            batch_entries: 4_096,
            batch_bytes: 8 << 20,
            handler_timeout: Duration::from_secs(60),
            wait: Duration::from_secs(30),
            pause: Pause::default(),
            drain: Duration::from_secs(20),
        }
    }
}

/// How often a handler may hang or panic on the same entries, one time after
/// the other, before they are taken to be at fault.
const SILENCES: u32 = 3;

/// The worker has to stop.
#[derive(Debug)]
pub struct Stopped;

/// Why a batch was not applied.
pub(crate) enum Trouble {
    /// The handler said so.
    Told(BatchError),
    /// The handler hung or panicked: its store or an entry may be the reason.
    Silence(String),
}

/// The batches of one queue.
#[derive(Clone, Copy)]
pub(crate) struct Batches<'a> {
    pub(crate) queue: &'a QueueName,
    pub(crate) options: &'a StreamOptions,
    pub(crate) stop: &'a CancellationToken,
}

impl Batches<'_> {
    /// One call of the handler, for so many entries.
    pub(crate) async fn attempt<T>(
        &self,
        entries: usize,
        call: impl Future<Output = Result<T, BatchError>>,
    ) -> Result<T, Trouble> {
        let start = Instant::now();
        let value = match tokio::time::timeout(self.options.handler_timeout, catch_panic(call)).await {
            Ok(Ok(result)) => result.map_err(Trouble::Told)?,
            Ok(Err(cause)) => return Err(Trouble::Silence(cause)),
            Err(_) => {
                let cause = format!("the handler took longer than {:?}", self.options.handler_timeout);
                return Err(Trouble::Silence(cause));
            }
        };
        self.count("applied");
        let queue = self.queue.to_string();
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        metrics::histogram!("orderwire_worker_batch_entries", "queue" => queue.clone())
            .record(entries as f64);
        metrics::histogram!("orderwire_worker_batch_seconds", "queue" => queue)
            .record(start.elapsed().as_secs_f64());
        Ok(value)
    }

    /// The pause after so many failures in a row that may pass, of a batch of so many entries.
    pub(crate) async fn wait_after(
        &self,
        failures: u32,
        entries: usize,
        trouble: &Trouble,
    ) -> Result<(), Stopped> {
        tracing::warn!(
            queue.name = %self.queue, batch.entries = entries, failures, cause = trouble.cause(),
            "a batch waits for another attempt"
        );
        self.count("retried");
        self.pause(failures).await
    }

    /// Tries until it works or the worker has to stop; the failures before too.
    pub(crate) async fn insist<T, F>(
        &self,
        what: &str,
        mut call: impl FnMut() -> F,
    ) -> Result<(T, u32), Stopped>
    where
        F: Future<Output = Result<T, String>>,
    {
        let mut failures = 0;
        loop {
            let called = catch_panic(call());
            let cause = match tokio::time::timeout(self.options.handler_timeout, called).await {
                Ok(Ok(Ok(value))) => return Ok((value, failures)),
                Ok(Ok(Err(cause)) | Err(cause)) => cause,
                Err(_) => format!("no answer within {:?}", self.options.handler_timeout),
            };
            failures += 1;
            tracing::warn!(queue.name = %self.queue, failures, cause, "cannot {what}, which is tried again");
            self.count("retried");
            self.pause(failures).await?;
        }
    }

    pub(crate) async fn pause(&self, failures: u32) -> Result<(), Stopped> {
        self.unless_stopped(tokio::time::sleep(self.options.pause.after(failures))).await
    }

    pub(crate) async fn unless_stopped<T>(&self, wait: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Stopped),
            value = wait => Ok(value),
        }
    }

    pub(crate) fn count(&self, outcome: &'static str) {
        let queue = self.queue.to_string();
        metrics::counter!("orderwire_worker_batches_total", "queue" => queue, "outcome" => outcome)
            .increment(1);
    }
}

impl Trouble {
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Told(err) => err.retryable,
            Self::Silence(_) => true,
        }
    }

    pub(crate) fn cause(&self) -> &str {
        match self {
            Self::Told(err) => &err.cause,
            Self::Silence(cause) => cause,
        }
    }

    pub(crate) fn entry(&self) -> Option<usize> {
        match self {
            Self::Told(err) => err.entry,
            Self::Silence(_) => None,
        }
    }
}

/// A part of a batch that is still to be applied.
pub(crate) struct Piece {
    pub(crate) range: Range<usize>,
    /// How often its entries were part of a batch that failed for their sake.
    pub(crate) tries: u32,
    /// How often in a row the handler gave no word on it.
    silences: u32,
    /// Whether it is a part of something that the handler gave no word on.
    suspect: bool,
}

impl Piece {
    pub(crate) fn whole(len: usize) -> Self {
        Self { range: 0..len, tries: 0, silences: 0, suspect: false }
    }

    /// Notes a failure; whether an entry of it is at fault. `alive`: the store
    /// answered at once, and nothing of it was applied.
    pub(crate) fn is_at_fault(&mut self, trouble: &Trouble, alive: bool) -> bool {
        match trouble {
            Trouble::Silence(_) if alive => {
                self.tries += 1;
                self.silences += 1;
                // Splitting further costs nothing; giving up an entry does.
                let splits_at_once = self.suspect && self.range.len() > 1;
                let at_fault = splits_at_once || self.silences >= SILENCES;
                self.suspect |= at_fault;
                at_fault
            }
            Trouble::Told(err) if !err.retryable => {
                self.tries += 1;
                true
            }
            _ => {
                self.silences = 0;
                false
            }
        }
    }

    /// Puts the parts of a failed piece on the stack, the first on top: around
    /// the entry at fault where it is known, else two halves.
    pub(crate) fn split(self, fault: Option<usize>, pieces: &mut Vec<Self>) {
        let Range { start, end } = self.range;
        let mut push = |range: Range<usize>| {
            if !range.is_empty() {
                pieces.push(Self { range, silences: 0, ..self });
            }
        };
        match fault.map(|index| start + index).filter(|at| *at < end) {
            Some(at) => {
                push(at + 1..end);
                push(at..at + 1);
                push(start..at);
            }
            None => {
                let middle = start + (end - start) / 2;
                push(middle..end);
                push(start..middle);
            }
        }
    }
}
