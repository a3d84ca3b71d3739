//! The worker of a stream.

use std::pin::pin;
use std::sync::Arc;

use orderwire_queue::{Entry, Error, ErrorKind, Position, Queues};
use orderwire_types::{Event, QueueName};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::batches::{Batches, Piece, Stopped, StreamOptions};
use crate::handler::{StreamEntry, StreamHandler};

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

impl<H: StreamHandler> StreamWorker<H> {
    /// A worker on this stream.
    pub fn new(queues: Queues, queue: QueueName, handler: Arc<H>, options: StreamOptions) -> Self {
        Self { queues, queue, handler, options, stop: CancellationToken::new() }
    }

    fn batches(&self) -> Batches<'_> {
        Batches { queue: &self.queue, options: &self.options, stop: &self.stop }
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
            match self.batches().unless_stopped(read).await? {
                Ok(entries) if entries.is_empty() => {
                    // A queue that is shutting down answers at once.
                    if start.elapsed() < options.wait / 2 {
                        self.batches().pause(1).await?;
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
                    self.batches().pause(failures).await?;
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
            let handled = self.handler.handle(batch, position);
            let Err(trouble) = self.batches().attempt(batch.len(), handled).await else {
                failures = 0;
                position = batch[batch.len() - 1].position;
                done.send_replace(position);
                continue;
            };
            if trouble.may_pass() {
                failures += 1;
                self.batches().wait_after(failures, batch.len(), &trouble).await?;
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
                self.batches().count("split");
                piece.split(trouble.entry(), &mut pieces);
            }
        }
        Ok(position)
    }

    /// Dead-letters an entry, then passes it over. In this order: a crash in
    /// between leaves a stream without the entry, which is passed over anyway.
    async fn bury(&self, at: Position, attempts: u32, cause: &str) -> Result<(), Stopped> {
        tracing::warn!(queue.name = %self.queue, position = at.0, cause, "an entry becomes a dead letter");
        self.batches().count("buried");
        let bury = || async {
            match self.queues.bury(&self.queue, at, attempts, cause).await {
                // It was buried before, by a call whose answer got lost.
                Err(err) if err.kind() == ErrorKind::NotFound => Ok(()),
                other => other.map_err(|err| err.to_string()),
            }
        };
        self.batches().insist("dead-letter an entry", bury).await?;
        let skip = || async { self.handler.skip(at).await.map_err(|err| err.cause) };
        self.batches().insist("pass over a dead letter", skip).await?;
        Ok(())
    }

    /// The handler's position, and how many calls for it failed before.
    async fn position(&self) -> Result<(Position, u32), Stopped> {
        let position = || async { self.handler.position().await.map_err(|err| err.cause) };
        self.batches().insist("read the position", position).await
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
                    if self.batches().pause(failures).await.is_err() {
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
}
