//! Queues as a whole: their state and settings.

use std::sync::PoisonError;

use orderwire_types::queue::QueueDef;
use orderwire_types::scope::Clients;
use orderwire_types::{QueueName, Scope};
use uuid::Uuid;

use super::{Queues, canonical, single, touches};
use crate::engine::{Op, Origin};
use crate::error::{Error, ErrorKind};
use crate::model::{Entry, QueueState, TraceView};

impl Queues {
    /// The state of every queue in the scope, in order of name; none for a
    /// caller of some clients only, because figures are of whole queues.
    pub async fn states(&self, scope: &Scope) -> Result<Vec<QueueState>, Error> {
        if scope.clients != Clients::All {
            return Ok(Vec::new());
        }
        let mut states = self.inner.read("read the queues' states", self.inner.engine.states()).await?;
        states.retain(|state| touches(scope, &state.name));
        Ok(states)
    }

    /// The state of one queue.
    ///
    /// # Errors
    /// `NotFound` also for a caller of some clients only.
    pub async fn state(&self, scope: &Scope, queue: &QueueName) -> Result<QueueState, Error> {
        let queue = self.find_whole(scope, queue)?;
        self.inner.read("read a queue's state", self.inner.engine.state(&queue.name)).await
    }

    /// The settings of one queue. Needs no more than to touch it: who consumes
    /// has to know the form.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn definition(&self, scope: &Scope, queue: &QueueName) -> Result<QueueDef, Error> {
        Ok(self.find(scope, queue)?.def.clone())
    }

    /// The queues that the scope touches with their settings, by name.
    pub fn definitions(&self, scope: &Scope) -> Vec<(QueueName, QueueDef)> {
        let all = self.inner.catalog().definitions();
        all.into_iter().filter(|(name, _)| touches(scope, name)).collect()
    }

    /// The role of the worker that consumes this queue, if there is one.
    pub fn worker(&self, queue: &QueueName) -> Option<&str> {
        self.inner.workers.get(&canonical(queue)).map(String::as_str)
    }

    /// The first unsettled deliveries of the scope's clients in order of
    /// position, without a lease, each with its attempts so far; at most as
    /// many as one lease holds. A caller of some clients sees of a stream what
    /// is among its first [`crate::engine::LOOK`] entries.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn peek(
        &self,
        scope: &Scope,
        queue: &QueueName,
        max: usize,
    ) -> Result<Vec<(u32, Entry)>, Error> {
        let queue = self.find(scope, queue)?;
        let max = max.clamp(1, self.inner.options.lease_deliveries.max(1));
        let peek = self.inner.engine.peek(&queue.name, &scope.clients, max, self.inner.options.lease_bytes);
        self.inner.read("peek", peek).await
    }

    /// Stops or resumes handing out leases, and the entries of a stream, also
    /// to its worker. What is out stays valid.
    ///
    /// # Errors
    /// `NotFound` also for a caller of some clients only.
    pub async fn pause(&self, scope: &Scope, queue: &QueueName, paused: bool) -> Result<(), Error> {
        let queue = self.find_whole(scope, queue)?;
        let op = Op::Pause { queue: queue.name.clone(), paused };
        single(self.inner.committer.submit(vec![op]).await?)?;
        {
            let mut pauses = self.inner.pauses.lock().unwrap_or_else(PoisonError::into_inner);
            *pauses += 1;
            queue.live.set_paused(paused);
        }
        if !paused {
            queue.live.gate.wake();
        }
        Ok(())
    }

    /// Returns when the queue is paused, or is not, as asked for: at once after a call of
    /// this process, within [`Options::figures_every`](crate::Options::figures_every) after
    /// one of another.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn until_paused(&self, queue: &QueueName, paused: bool) -> Result<(), Error> {
        let name = canonical(queue);
        let queue = self.inner.catalog().get(&name).cloned().ok_or_else(|| Error::no_queue(&name))?;
        // An error means that the sender is gone, which `queue` holds.
        let _ = queue.live.paused.subscribe().wait_for(|now| *now == paused).await;
        Ok(())
    }

    /// Makes a queue exist with these settings, until another call changes it.
    ///
    /// # Errors
    /// `Conflict` when the configuration owns the queue, or it holds deliveries
    /// and is of the other kind; `NotFound` when it is outside the scope or the
    /// caller is one of some clients only.
    pub async fn declare(&self, scope: &Scope, name: &QueueName, def: QueueDef) -> Result<(), Error> {
        let name = canonical(name);
        if scope.clients != Clients::All || !touches(scope, &name) {
            return Err(Error::no_queue(&name));
        }
        if self.inner.configured.contains_key(&name) {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("declare queue {name}: it is defined by the configuration; change it there"),
            ));
        }
        if def.attempts == 0 {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("declare queue {name}: a delivery needs at least one attempt"),
            ));
        }
        let _one_at_a_time = self.inner.declaring.lock().await;
        let queues = [(name, def)];
        let declared = self.inner.engine.declare(&queues, Origin::Call);
        self.inner.read("declare a queue", declared).await?;
        self.inner.reload().await
    }

    /// What the queue knows of a trace, within the scope's clients.
    pub async fn trace(&self, scope: &Scope, trace: Uuid) -> Result<TraceView, Error> {
        self.inner.read("read a trace", self.inner.engine.trace(trace, &scope.clients)).await
    }
}
