//! A reference engine in memory: the specification of [`crate::engine`] as
//! plainly as it can be written. Slow where the real ones are fast, and durable
//! only as long as its [`ModelPlace`].

mod claim;
mod lanes;
mod ops;
mod state;
mod told;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_types::QueueName;
use orderwire_types::queue::QueueDef;
use orderwire_types::scope::Clients;
use tokio::sync::broadcast;
use uuid::Uuid;

use self::state::State;
use self::told::Told;
use super::Factory;
use crate::engine::{Capabilities, Committed, Durability, Elsewhere, Engine, Op, Origin};
use crate::error::Error;
use crate::model::{
    DeadFilter, DeadPage, DeadRef, DeadRefs, Entry, Figures, Position, QueueState, TraceView,
};

/// Where a [`ModelEngine`] keeps its data; engines opened on one place find
/// what those before them left.
#[derive(Clone, Default)]
pub struct ModelPlace {
    state: Arc<Mutex<State>>,
    told: Told,
}

impl ModelPlace {
    /// An engine on this place.
    pub fn engine(&self) -> ModelEngine {
        let (id, told) = self.told.another();
        ModelEngine { place: self.clone(), id, told: tokio::sync::Mutex::new(told) }
    }

    /// A place of its own with a copy of all data.
    pub fn copy(&self) -> Self {
        Self { state: Arc::new(Mutex::new(self.lock().clone())), told: Told::default() }
    }

    /// The last position that was given out.
    pub(super) fn last_position(&self) -> Position {
        Position(self.lock().last_position)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Factory for ModelPlace {
    async fn open(&self) -> Result<Arc<dyn Engine>, String> {
        Ok(Arc::new(self.engine()))
    }
}

/// The reference engine.
pub struct ModelEngine {
    place: ModelPlace,
    id: u64,
    told: tokio::sync::Mutex<broadcast::Receiver<(u64, Elsewhere)>>,
}

#[async_trait]
impl Engine for ModelEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities { durability: Durability::Process, shared: true }
    }

    async fn declare(&self, queues: &[(QueueName, QueueDef)], origin: Origin) -> Result<(), Error> {
        self.place.lock().declare(queues, origin)?;
        self.place.told.tell(self.id, Elsewhere { definitions: true, ..Elsewhere::default() });
        Ok(())
    }

    async fn definitions(&self) -> Result<Vec<(QueueName, QueueDef)>, Error> {
        Ok(self.place.lock().definitions())
    }

    async fn commit(&self, ops: Vec<Op>, now: Timestamp) -> Result<Committed, Error> {
        let committed = self.place.lock().commit(ops, now);
        let (ready, next_expiry) = (committed.ready.clone(), committed.next_expiry);
        self.place.told.tell(self.id, Elsewhere { ready, definitions: false, next_expiry });
        Ok(committed)
    }

    async fn elsewhere(&self) -> Elsewhere {
        let mut told = self.told.lock().await;
        loop {
            match told.recv().await {
                Ok((by, news)) if by != self.id => return news,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return self.place.lock().everything(),
                Err(broadcast::error::RecvError::Closed) => unreachable!("the place holds the sender"),
            }
        }
    }

    async fn state(&self, queue: &QueueName) -> Result<QueueState, Error> {
        self.place.lock().queue_state(queue)
    }

    async fn states(&self) -> Result<Vec<QueueState>, Error> {
        let mut state = self.place.lock();
        let names: Vec<_> = state.definitions().into_iter().map(|(name, _)| name).collect();
        names.iter().map(|name| state.queue_state(name)).collect()
    }

    async fn figures(&self) -> Result<Vec<(QueueName, Figures)>, Error> {
        let figures = |QueueState { name, ready, in_flight, delayed, dead, paused, .. }| {
            (name, Figures { ready, in_flight, delayed, dead, paused })
        };
        Ok(self.states().await?.into_iter().map(figures).collect())
    }

    async fn peek(
        &self,
        queue: &QueueName,
        clients: &Clients,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u32, Entry)>, Error> {
        let mut state = self.place.lock();
        let mut items: Vec<_> =
            state.queue(queue)?.items().filter(|item| state::covers(clients, &item.client)).collect();
        items.sort_by_key(|item| item.position);
        let within = state::within(items.iter().map(|item| item.body.len()), max, max_bytes);
        Ok(items[..within].iter().map(|item| (item.attempts, item.entry())).collect())
    }

    async fn read(
        &self,
        queue: &QueueName,
        after: Position,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, Error> {
        let mut state = self.place.lock();
        let mut bytes = 0;
        let mut entries = Vec::new();
        let queue = state.queue(queue)?;
        if queue.paused {
            return Ok(entries);
        }
        for item in queue.items().filter(|item| item.position > after).take(max) {
            bytes += item.body.len();
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            entries.push(item.entry());
        }
        Ok(entries)
    }

    async fn dead(
        &self,
        clients: &Clients,
        filter: &DeadFilter,
        after: i64,
        max: usize,
        max_bytes: usize,
    ) -> Result<DeadPage, Error> {
        Ok(self.place.lock().dead_page(clients, filter, after, max, max_bytes))
    }

    async fn dead_refs(
        &self,
        clients: &Clients,
        filter: &DeadFilter,
        after: i64,
        max: usize,
    ) -> Result<DeadRefs, Error> {
        let page = self.place.lock().dead_page(clients, filter, after, max, usize::MAX);
        let items = page.items.into_iter();
        let items =
            items.map(|letter| DeadRef { id: letter.id, queue: letter.queue, bytes: letter.body.len() });
        Ok(DeadRefs { items: items.collect(), next: page.next })
    }

    async fn trace(&self, trace: Uuid, clients: &Clients) -> Result<TraceView, Error> {
        Ok(self.place.lock().trace_view(trace, clients))
    }
}
