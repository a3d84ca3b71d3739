//! Streams, for the one worker that reads each.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use orderwire_types::queue::Kind;
use orderwire_types::{QueueName, Scope};

use super::{Queues, single};
use crate::catalog::Queue;
use crate::engine::Op;
use crate::error::{Error, ErrorKind};
use crate::model::{Entry, Position};
use crate::wake::Place;

impl Queues {
    /// Entries of a stream after `after`, in order: at most `max` and, beyond
    /// the first, at most `max_bytes`; as soon as there is one, or none when
    /// none came within the wait, the stream is paused, or the service stops
    /// meanwhile.
    ///
    /// # Errors
    /// `NotFound` when there is no such queue, `Conflict` when it is no stream.
    pub async fn read(
        &self,
        queue: &QueueName,
        after: Position,
        max: usize,
        max_bytes: usize,
        wait: Duration,
    ) -> Result<Vec<Entry>, Error> {
        let queue = self.stream(queue)?;
        let deadline = self.inner.deadline(wait);
        loop {
            let mut woken = pin!(queue.live.gate.waiter(Place::Crowd));
            woken.as_mut().enable();
            let read = self.inner.engine.read(&queue.name, after, max.max(1), max_bytes);
            let entries = self.inner.read("read a stream", read).await?;
            if !entries.is_empty() {
                return Ok(entries);
            }
            tokio::select! {
                () = &mut woken => {}
                () = tokio::time::sleep_until(deadline) => return Ok(Vec::new()),
                () = self.inner.closed() => return Ok(Vec::new()),
            }
        }
    }

    /// The reader is done with everything up to and including `to`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn advance(&self, queue: &QueueName, to: Position) -> Result<(), Error> {
        let queue = self.stream(queue)?.name.clone();
        single(self.inner.committer.submit_patiently(vec![Op::Advance { queue, to }]).await?).map(|_| ())
    }

    /// Dead-letters one entry, leaving those around it.
    ///
    /// # Errors
    /// As [`Self::read`]; `NotFound` also when there is no such entry.
    pub async fn bury(
        &self,
        queue: &QueueName,
        position: Position,
        attempts: u32,
        cause: &str,
    ) -> Result<(), Error> {
        let queue = self.stream(queue)?;
        let op = Op::Bury { queue: queue.name.clone(), position, attempts, cause: cause.to_owned() };
        single(self.inner.committer.submit_patiently(vec![op]).await?)?;
        queue.live.left(1);
        queue.live.dead.increment(1);
        Ok(())
    }

    fn stream(&self, name: &QueueName) -> Result<Arc<Queue>, Error> {
        let queue = self.find(&Scope::internal("stream"), name)?;
        if queue.def.kind == Kind::Stream {
            Ok(queue)
        } else {
            Err(Error::new(ErrorKind::Conflict, format!("queue {} is not a stream", queue.name)))
        }
    }
}
