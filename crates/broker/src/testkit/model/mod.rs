//! A reference broker in memory: the specification of [`crate::contract`] as plainly as
//! it can be written. Durable only as long as its [`ModelPlace`].

mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use orderwire_types::queue::Declare;
use orderwire_types::{Pattern, QueueName};
use tokio::sync::watch;

use self::state::{ConnectionId, ConsumerId, Kind, State};
use super::Factory;
use crate::capabilities::{Capabilities, Durability, Ordering, Retention};
use crate::contract::{Broker, Consumer, QueueBinding};
use crate::error::{Error, ErrorKind};
use crate::message::{Message, Received, Tag};

/// What the reference broker can do, unless a [`ModelPlace`] says otherwise.
pub const CAPABILITIES: Capabilities = Capabilities {
    name: "the reference broker",
    durability: Durability::Process,
    ordering: Ordering::Queue,
    retention: Retention::UntilAcked,
    body_bytes_max: 64 << 10,
    reports_unroutable: true,
    routes_by_pattern: true,
};

/// Where [`ModelBroker`]s keep their data; brokers opened on one place find what those
/// before them left, and share what is there.
#[derive(Clone)]
pub struct ModelPlace {
    state: Arc<Mutex<State>>,
    /// Told whenever something may have come, or a broker was closed.
    changed: watch::Sender<()>,
    capabilities: Capabilities,
}

impl Default for ModelPlace {
    fn default() -> Self {
        Self::able(CAPABILITIES)
    }
}

impl ModelPlace {
    /// An empty place whose brokers can do this.
    pub fn able(capabilities: Capabilities) -> Self {
        Self { state: Arc::default(), changed: watch::Sender::new(()), capabilities }
    }

    /// A broker on this place.
    pub fn broker(&self) -> ModelBroker {
        ModelBroker { place: self.clone(), connection: self.lock().connect() }
    }

    /// A place of its own with a copy of all messages.
    pub fn copy(&self) -> Self {
        let state = Arc::new(Mutex::new(self.lock().clone()));
        Self { state, changed: watch::Sender::new(()), ..*self }
    }

    /// Makes `copy` a queue with what is in `queue`.
    pub(super) fn copy_queue(&self, queue: &QueueName, copy: &QueueName) {
        self.lock().copy_queue(queue, copy);
    }

    /// Takes all bindings away from a queue.
    pub(super) fn unbind_all(&self, queue: &QueueName) {
        self.lock().bind(queue, &[]);
    }

    /// Takes all messages out of a queue.
    pub(super) fn empty_queue(&self, queue: &QueueName) {
        self.lock().empty_queue(queue);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something that consumers may wait for.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changed.send_replace(());
        changed
    }
}

#[async_trait]
impl Factory for ModelPlace {
    async fn open(&self) -> Result<Arc<dyn Broker>, String> {
        Ok(Arc::new(self.broker()))
    }

    async fn occupy(&self, queue: &QueueName) -> Result<bool, String> {
        self.lock().make(queue, Kind::Foreign);
        Ok(true)
    }

    async fn remove(&self, queues: &[QueueName]) -> Result<(), String> {
        self.change(|state| state.remove(queues));
        Ok(())
    }
}

/// The reference broker.
pub struct ModelBroker {
    place: ModelPlace,
    connection: ConnectionId,
}

impl ModelBroker {
    fn is_open(&self) -> Result<(), Error> {
        if self.place.lock().is_open(self.connection) { Ok(()) } else { Err(closed()) }
    }
}

#[async_trait]
impl Broker for ModelBroker {
    fn capabilities(&self) -> Capabilities {
        self.place.capabilities
    }

    async fn declare(&self, queue: &QueueBinding) -> Result<(), Error> {
        self.is_open()?;
        let mut state = self.place.lock();
        let name = &queue.name;
        match (state.kind(name), queue.declare) {
            (Some(_), Declare::Adopt)
            | (Some(Kind::Plain), Declare::Classic)
            | (Some(Kind::Quorum), Declare::Quorum) => {}
            (None, Declare::Adopt | Declare::Classic) => state.make(name, Kind::Plain),
            (None, Declare::Quorum) => state.make(name, Kind::Quorum),
            (Some(kind), asked) => {
                let why = format!("declare queue {name}: it is {kind:?}, {asked:?} was asked for");
                return Err(Error::new(ErrorKind::Conflict, why));
            }
        }
        state.bind(name, &queue.types);
        Ok(())
    }

    async fn unbind(&self, queue: &QueueName, types: &[Pattern]) -> Result<(), Error> {
        self.is_open()?;
        self.place.lock().unbind(queue, types);
        Ok(())
    }

    async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), Error>> {
        if let Err(error) = self.is_open() {
            return vec![Err(error); messages.len()];
        }
        let capabilities = &self.place.capabilities;
        self.place.change(|state| {
            messages.into_iter().map(|message| state.publish(&message, capabilities)).collect()
        })
    }

    async fn consume(&self, queue: &QueueBinding, prefetch: u16) -> Result<Box<dyn Consumer>, Error> {
        self.is_open()?;
        let name = &queue.name;
        let id = self.place.lock().consume(self.connection, name, usize::from(prefetch));
        let missing =
            || Error::new(ErrorKind::Conflict, format!("consume from queue {name}: it does not exist"));
        Ok(Box::new(ModelConsumer { place: self.place.clone(), id: id.ok_or_else(missing)? }))
    }

    async fn check(&self) -> Result<(), Error> {
        self.is_open()
    }

    async fn close(&self) {
        self.place.change(|state| state.disconnect(self.connection));
    }
}

impl Drop for ModelBroker {
    fn drop(&mut self) {
        self.place.change(|state| state.disconnect(self.connection));
    }
}

struct ModelConsumer {
    place: ModelPlace,
    id: ConsumerId,
}

#[async_trait]
impl Consumer for ModelConsumer {
    async fn next(&mut self, max: usize) -> Result<Vec<Received>, Error> {
        let mut changed = self.place.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let taken = self.place.lock().take(self.id, max).ok_or_else(closed)?;
            if !taken.is_empty() {
                return Ok(taken);
            }
            changed.changed().await.map_err(|_| closed())?;
        }
    }

    async fn ack(&mut self, tags: &[Tag]) -> Result<(), Error> {
        // What was acked makes room for more, but nobody else waits for that.
        self.place.lock().ack(self.id, tags).ok_or_else(closed)
    }

    async fn give_back(&mut self, tags: &[Tag]) -> Result<(), Error> {
        self.place.change(|state| state.give_back(self.id, tags)).ok_or_else(closed)
    }
}

impl Drop for ModelConsumer {
    fn drop(&mut self) {
        self.place.change(|state| state.end(self.id));
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the broker is closed")
}
