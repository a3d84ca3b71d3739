//! The worker of a stream whose events wait at a broker.

use std::sync::Arc;

use orderwire_types::QueueName;
use orderwire_types::envelope::Incoming;
use tokio_util::sync::CancellationToken;

use crate::batches::{Batches, Piece, Stopped, StreamOptions};
use crate::handler::{BatchError, DirectHandler};

/// Has batches handled that something else keeps until they have their effect. As a
/// [`StreamWorker`](crate::StreamWorker), it tries what may pass again for good, and
/// finds what can never be applied by splitting; that, its caller has to put aside.
pub struct DirectWorker {
    queue: QueueName,
    handler: Arc<dyn DirectHandler>,
    options: StreamOptions,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// It has its effect now.
    New,
    /// It had its effect before.
    Repeated,
    /// It can never have it; why, in plain words.
    Faulty(String),
}

impl DirectWorker {
    /// A worker of this stream. Of the options, those of batches are its caller's.
    pub fn new(queue: QueueName, handler: Arc<dyn DirectHandler>, options: StreamOptions) -> Self {
        Self { queue, handler, options }
    }

    /// Has a batch handled, in pieces where an event is at fault: what became of each event,
    /// in order.
    ///
    /// # Errors
    /// It has to stop: what became of them is unknown, as after a crash. Returned at once
    /// between two attempts, and within [`StreamOptions::drain`] while one is under way.
    pub async fn handle(
        &self,
        events: &[&Incoming],
        stop: &CancellationToken,
    ) -> Result<Vec<Handled>, Stopped> {
        let batches = Batches { queue: &self.queue, options: &self.options, stop };
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(self.options.drain).await;
        };
        tokio::select! {
            biased;
            handled = self.in_pieces(events, batches) => handled,
            () = overdue => {
                tracing::warn!(queue.name = %self.queue, "stopped while a batch was under way");
                Err(Stopped)
            }
        }
    }

    async fn in_pieces(&self, events: &[&Incoming], batches: Batches<'_>) -> Result<Vec<Handled>, Stopped> {
        let mut handled = vec![Handled::Repeated; events.len()];
        let mut pieces = vec![Piece::whole(events.len())];
        let mut failures = 0;
        while let Some(mut piece) = pieces.pop().filter(|piece| !piece.range.is_empty()) {
            if batches.stop.is_cancelled() {
                return Err(Stopped);
            }
            let range = piece.range.clone();
            let batch = &events[range.clone()];
            let call = async {
                let new = self.handler.handle(batch).await?;
                // What it says nothing of must not be taken for done.
                let whole = new.len() == batch.len();
                whole
                    .then_some(new)
                    .ok_or_else(|| BatchError::retryable("the handler tells of too few events"))
            };
            let trouble = match batches.attempt(batch.len(), call).await {
                Ok(new) => {
                    failures = 0;
                    for (handled, new) in handled[range].iter_mut().zip(new) {
                        *handled = if new { Handled::New } else { Handled::Repeated };
                    }
                    continue;
                }
                Err(trouble) => trouble,
            };
            if trouble.may_pass() {
                failures += 1;
                batches.wait_after(failures, batch.len(), &trouble).await?;
            }
            let check = || async { self.handler.check().await.map_err(|error| error.cause) };
            let ((), misses) = batches.insist("reach the store", check).await?;
            if !piece.is_at_fault(&trouble, misses == 0) {
                pieces.push(piece);
            } else if let [one] = batch {
                let cause = trouble.cause();
                tracing::warn!(queue.name = %self.queue, event.id = %one.event.id, cause, "an event becomes a dead letter");
                batches.count("buried");
                handled[range.start] = Handled::Faulty(trouble.cause().to_owned());
            } else {
                batches.count("split");
                piece.split(trouble.entry(), &mut pieces);
            }
        }
        Ok(handled)
    }
}
