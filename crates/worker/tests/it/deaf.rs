//! An engine whose answers get lost.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_queue::engine::{Capabilities, Committed, Engine, Op, Origin};
use orderwire_queue::testkit::{ModelEngine, ModelPlace};
use orderwire_queue::{
    DeadFilter, DeadPage, Entry, Error, ErrorKind, Position, QueueState, Settlement, TraceView,
};
use orderwire_types::QueueName;
use orderwire_types::queue::QueueDef;
use orderwire_types::scope::Clients;
use uuid::Uuid;

/// Does the first commit with an ack, and does not say so.
pub(crate) struct Deaf {
    inner: ModelEngine,
    heard: AtomicBool,
}

impl Deaf {
    pub(crate) fn to_the_first_ack() -> Self {
        Self { inner: ModelPlace::default().engine(), heard: AtomicBool::new(false) }
    }
}

#[async_trait]
impl Engine for Deaf {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn declare(&self, queues: &[(QueueName, QueueDef)], origin: Origin) -> Result<(), Error> {
        self.inner.declare(queues, origin).await
    }

    async fn definitions(&self) -> Result<Vec<(QueueName, QueueDef)>, Error> {
        self.inner.definitions().await
    }

    async fn commit(&self, ops: Vec<Op>, now: Timestamp) -> Result<Committed, Error> {
        let acks = |op: &Op| matches!(op, Op::Settle(settle) if settle.settlement == Settlement::Ack);
        let lost = ops.iter().any(acks) && !self.heard.swap(true, Ordering::Relaxed);
        let committed = self.inner.commit(ops, now).await?;
        if lost { Err(Error::new(ErrorKind::Unconfirmed, "the answer got lost")) } else { Ok(committed) }
    }

    async fn state(&self, queue: &QueueName) -> Result<QueueState, Error> {
        self.inner.state(queue).await
    }

    async fn peek(
        &self,
        queue: &QueueName,
        clients: &Clients,
        max: usize,
    ) -> Result<Vec<(u32, Entry)>, Error> {
        self.inner.peek(queue, clients, max).await
    }

    async fn read(
        &self,
        queue: &QueueName,
        after: Position,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, Error> {
        self.inner.read(queue, after, max, max_bytes).await
    }

    async fn dead(
        &self,
        clients: &Clients,
        filter: &DeadFilter,
        after: i64,
        max: usize,
    ) -> Result<DeadPage, Error> {
        self.inner.dead(clients, filter, after, max).await
    }

    async fn trace(&self, trace: Uuid, clients: &Clients) -> Result<TraceView, Error> {
        self.inner.trace(trace, clients).await
    }
}
