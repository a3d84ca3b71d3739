//! The worker of a stream.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use orderwire_queue::{Entry, Error, ErrorKind, Position, Queues};
use orderwire_types::{Event, QueueName};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::caught::catch_panic;
use crate::handler::{BatchError, StreamEntry, StreamHandler};
use crate::pause::Pause;

/// How a [`StreamWorker`] works.
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

/// Reads a stream from the position that its handler has stored, and tells the
/// queue what is done. What fails and may pass is tried again for good; an
/// entry that can never be applied is found by splitting, dead-lettered, and
/// passed over. So is one that a handler gives no word on, because it hangs or
/// panics each time although its store answers.
///
/// The position of the handler counts. The queue is told later, and may be told
/// again after a crash: it only frees space.
pub struct StreamWorker<H> {
    queues: Queues,
    queue: QueueName,
    handler: Arc<H>,
    options: StreamOptions,
    stop: CancellationToken,
}

/// How often a handler may hang or panic on the same entries, one time after
/// the other, before they are taken to be at fault.
const SILENCES: u32 = 3;

/// The worker has to stop.
struct Stopped;

/// Why a batch was not applied.
enum Trouble {
    /// The handler said so.
    Told(BatchError),
    /// The handler hung or panicked: its store or an entry may be the reason.
    Silence(String),
}

impl<H: StreamHandler> StreamWorker<H> {
    /// A worker on this stream.
    pub fn new(queues: Queues, queue: QueueName, handler: Arc<H>, options: StreamOptions) -> Self {
        Self { queues, queue, handler, options, stop: CancellationToken::new() }
    }

    /// Works until `shutdown` is ready; then lets the batch under way end, and
    /// returns. A handler that outlasts [`StreamOptions::drain`] is dropped. The
    /// queue's service must run until then.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (done, reached) = watch::channel(Position::default());
        let work = async {
            let _: Result<(), Stopped> = self.work(&done).await;
            // Without its sender the other half ends, after the last position.
            drop(done);
        };
        let mut both = pin!(async { tokio::join!(work, self.advance(reached)) });
        tokio::select! {
            _ = &mut both => return,
            () = shutdown => self.stop.cancel(),
        }
        if tokio::time::timeout(self.options.drain, both).await.is_err() {
            tracing::warn!(queue.name = %self.queue, "stopped while a batch was under way");
        }
    }

    async fn work(&self, done: &watch::Sender<Position>) -> Result<(), Stopped> {
        let (mut position, _) = self.position().await?;
        done.send_replace(position);
        let mut failures = 0;
        loop {
            let options = &self.options;
            let start = Instant::now();
            let (max, bytes) = (options.batch_entries, options.batch_bytes);
            let read = self.queues.read(&self.queue, position, max, bytes, options.wait);
            match self.unless_stopped(read).await? {
                Ok(entries) if entries.is_empty() => {
                    // A queue that is shutting down answers at once.
                    if start.elapsed() < options.wait / 2 {
                        self.pause(1).await?;
                    }
                    failures = 0;
                }
                Ok(entries) => {
                    failures = 0;
                    position = self.apply_all(entries, position, done).await?;
                }
                Err(err) => {
                    failures += 1;
                    tracing::warn!(queue.name = %self.queue, error = %err, "cannot read the stream");
                    self.pause(failures).await?;
                }
            }
        }
    }

    /// Applies the entries in order; those that cannot be read are buried.
    async fn apply_all(
        &self,
        entries: Vec<Entry>,
        mut position: Position,
        done: &watch::Sender<Position>,
    ) -> Result<Position, Stopped> {
        let mut batch = Vec::with_capacity(entries.len());
        for Entry { position: at, body } in entries {
            match Event::decode(&body) {
                Ok(event) => batch.push(StreamEntry { position: at, event }),
                Err(err) => {
                    position = self.apply(&batch, position, done).await?;
                    if batch.last().is_some_and(|last| position < last.position) {
                        return Ok(position);
                    }
                    batch.clear();
                    self.bury(at, 1, &format!("the stored event cannot be read: {err}")).await?;
                    position = at;
                    done.send_replace(position);
                }
            }
        }
        self.apply(&batch, position, done).await
    }

    /// Applies a batch, in pieces where an entry is at fault. Returns the
    /// handler's position, which is before the end of the batch only when
    /// somebody set it back.
    async fn apply(
        &self,
        entries: &[StreamEntry],
        mut position: Position,
        done: &watch::Sender<Position>,
    ) -> Result<Position, Stopped> {
        let mut pieces = vec![Piece::whole(entries.len())];
        let mut failures = 0;
        while let Some(mut piece) = pieces.pop() {
            piece.range.start =
                entries.partition_point(|entry| entry.position <= position).max(piece.range.start);
            if piece.range.is_empty() {
                continue;
            }
            if self.stop.is_cancelled() {
                return Err(Stopped);
            }
            let batch = &entries[piece.range.clone()];
            let Err(trouble) = self.handle(batch, position).await else {
                failures = 0;
                position = batch[batch.len() - 1].position;
                done.send_replace(position);
                continue;
            };
            if trouble.may_pass() {
                failures += 1;
                tracing::warn!(
                    queue.name = %self.queue, batch.entries = batch.len(), failures, cause = trouble.cause(),
                    "a batch waits for another attempt"
                );
                self.count("retried");
                self.pause(failures).await?;
            }
            // Whether it was applied may be unknown, and another one may read
            // the same stream: what is stored counts.
            let (stored, misses) = self.position().await?;
            if stored < position {
                tracing::warn!(queue.name = %self.queue, from = position.0, to = stored.0, "the position was set back");
                return Ok(stored);
            }
            // A silence says something of the entries only while the store answers
            // and stays where it was.
            let alive = misses == 0 && stored == position;
            position = stored;
            if !piece.is_at_fault(&trouble, alive) {
                pieces.push(piece);
            } else if batch.len() == 1 {
                if batch[0].position > position {
                    self.bury(batch[0].position, piece.tries, trouble.cause()).await?;
                    position = batch[0].position;
                    done.send_replace(position);
                }
            } else {
                self.count("split");
                piece.split(trouble.entry(), &mut pieces);
            }
        }
        Ok(position)
    }

    async fn handle(&self, batch: &[StreamEntry], from: Position) -> Result<(), Trouble> {
        let start = Instant::now();
        let handled = catch_panic(self.handler.handle(batch, from));
        match tokio::time::timeout(self.options.handler_timeout, handled).await {
            Ok(Ok(result)) => result.map_err(Trouble::Told)?,
            Ok(Err(cause)) => return Err(Trouble::Silence(cause)),
            Err(_) => {
                let cause = format!("the handler took longer than {:?}", self.options.handler_timeout);
                return Err(Trouble::Silence(cause));
            }
        }
        self.count("applied");
        let queue = self.queue.to_string();
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        metrics::histogram!("orderwire_worker_batch_entries", "queue" => queue.clone())
            .record(batch.len() as f64);
        metrics::histogram!("orderwire_worker_batch_seconds", "queue" => queue)
            .record(start.elapsed().as_secs_f64());
        Ok(())
    }

    /// Dead-letters an entry, then passes it over. In this order: a crash in
    /// between leaves a stream without the entry, which is passed over anyway.
    async fn bury(&self, at: Position, attempts: u32, cause: &str) -> Result<(), Stopped> {
        tracing::warn!(queue.name = %self.queue, position = at.0, cause, "an entry becomes a dead letter");
        self.count("buried");
        let bury = || async {
            match self.queues.bury(&self.queue, at, attempts, cause).await {
                // It was buried before, by a call whose answer got lost.
                Err(err) if err.kind() == ErrorKind::NotFound => Ok(()),
                other => other.map_err(|err| err.to_string()),
            }
        };
        self.insist("dead-letter an entry", bury).await?;
        let skip = || async { self.handler.skip(at).await.map_err(|err| err.cause) };
        self.insist("pass over a dead letter", skip).await?;
        Ok(())
    }

    /// The handler's position, and how many calls for it failed before.
    async fn position(&self) -> Result<(Position, u32), Stopped> {
        let position = || async { self.handler.position().await.map_err(|err| err.cause) };
        self.insist("read the position", position).await
    }

    /// Tries until it works or the worker has to stop; the failures before too.
    async fn insist<T, F>(&self, what: &str, mut call: impl FnMut() -> F) -> Result<(T, u32), Stopped>
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

    /// Tells the queue how far the handler is: always the latest position, so
    /// that a slow commit delays no batch.
    async fn advance(&self, mut reached: watch::Receiver<Position>) {
        let mut failures = 0;
        while reached.changed().await.is_ok() {
            let to = *reached.borrow_and_update();
            if to == Position::default() {
                continue;
            }
            match self.queues.advance(&self.queue, to).await {
                Ok(()) => failures = 0,
                Err(err) => {
                    failures += 1;
                    self.report_advance(&err);
                    if self.pause(failures).await.is_err() {
                        return;
                    }
                    // Again, also when no further batch comes.
                    reached.mark_changed();
                }
            }
        }
    }

    fn report_advance(&self, err: &Error) {
        tracing::warn!(queue.name = %self.queue, error = %err, "the queue does not know yet what is done");
    }

    async fn pause(&self, failures: u32) -> Result<(), Stopped> {
        self.unless_stopped(tokio::time::sleep(self.options.pause.after(failures))).await
    }

    async fn unless_stopped<T>(&self, wait: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Stopped),
            value = wait => Ok(value),
        }
    }

    fn count(&self, outcome: &'static str) {
        let queue = self.queue.to_string();
        metrics::counter!("orderwire_worker_batches_total", "queue" => queue, "outcome" => outcome)
            .increment(1);
    }
}

impl Trouble {
    fn may_pass(&self) -> bool {
        match self {
            Self::Told(err) => err.retryable,
            Self::Silence(_) => true,
        }
    }

    fn cause(&self) -> &str {
        match self {
            Self::Told(err) => &err.cause,
            Self::Silence(cause) => cause,
        }
    }

    fn entry(&self) -> Option<usize> {
        match self {
            Self::Told(err) => err.entry,
            Self::Silence(_) => None,
        }
    }
}

/// A part of a batch that is still to be applied.
struct Piece {
    range: Range<usize>,
    /// How often its entries were part of a batch that failed for their sake.
    tries: u32,
    /// How often in a row the handler gave no word on it.
    silences: u32,
    /// Whether it is a part of something that the handler gave no word on.
    suspect: bool,
}

impl Piece {
    fn whole(len: usize) -> Self {
        Self { range: 0..len, tries: 0, silences: 0, suspect: false }
    }

    /// Notes a failure; whether an entry of it is at fault. `alive`: the store
    /// answered at once, and nothing of it was applied.
    fn is_at_fault(&mut self, trouble: &Trouble, alive: bool) -> bool {
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
    fn split(self, fault: Option<usize>, pieces: &mut Vec<Self>) {
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
