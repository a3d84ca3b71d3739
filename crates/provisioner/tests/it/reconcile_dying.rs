//! A store that dies at one of its writes: from then on every write pends for ever,
//! as if the process had been killed there.

use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_sqlite::store::SqliteStore;
use orderwire_store::orders::{Advance, Claimed, Lease, Order, Revision, StateChange};
use orderwire_store::testkit::forward::*;
use orderwire_store::{Datasets, Defined, Error, Orders, Store};
use orderwire_types::dataset::DatasetDef;
use orderwire_types::{DatasetName, EventId, Scope};
use tokio::sync::watch;
use uuid::Uuid;

/// Where a store dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// Before the write with this number takes effect.
    Before(u64),
    /// After it took effect, before the caller learns of it.
    After(u64),
}

pub(crate) struct DyingStore {
    inner: Arc<SqliteStore>,
    death: Option<Death>,
    writes: AtomicU64,
    dead: watch::Sender<bool>,
    /// Moves with every write, also those that the store does not announce.
    activity: watch::Sender<u64>,
}

impl DyingStore {
    pub(crate) fn new(inner: Arc<SqliteStore>, death: Option<Death>, activity: watch::Sender<u64>) -> Self {
        Self { inner, death, writes: AtomicU64::new(0), dead: watch::Sender::new(false), activity }
    }

    /// How many writes there were.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    pub(crate) fn is_dead(&self) -> bool {
        *self.dead.borrow()
    }

    /// Returns when it is dead.
    pub(crate) async fn died(&self) {
        self.dead.subscribe().wait_for(|dead| *dead).await.unwrap();
    }

    /// A process that is killed takes the connections of its reads with it. Here they
    /// are those of the next one, so a read that is dropped comes to its end.
    async fn read<T, F>(&self, read: impl FnOnce(Arc<SqliteStore>) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        tokio::spawn(read(self.inner.clone())).await.unwrap()
    }

    async fn write<T>(&self, write: impl Future<Output = T> + Send) -> T {
        let number = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        if *self.dead.borrow() || self.death == Some(Death::Before(number)) {
            self.dead.send_replace(true);
            return pending().await;
        }
        let written = write.await;
        self.activity.send_modify(|n| *n += 1);
        if self.death == Some(Death::After(number)) {
            self.dead.send_replace(true);
            return pending().await;
        }
        written
    }
}

impl Forward for DyingStore {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }
}

impl ForwardClients for DyingStore {}
impl ForwardKeys for DyingStore {}
impl ForwardTurns for DyingStore {}
impl ForwardTraces for DyingStore {}
impl ForwardDeliveryLog for DyingStore {}

#[async_trait]
impl ForwardDatasets for DyingStore {
    async fn define(
        &self,
        scope: &Scope,
        name: &DatasetName,
        def: &DatasetDef,
        now: Timestamp,
    ) -> Result<Defined, Error> {
        self.write(self.inner.define(scope, name, def, now)).await
    }
}

#[async_trait]
impl ForwardOrders for DyingStore {
    async fn claim(
        &self,
        target: &str,
        max: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        self.write(self.inner.claim(target, max, now, until)).await
    }

    async fn advance(&self, lease: Lease, order: EventId, advance: Advance) -> Result<Order, Error> {
        self.write(self.inner.advance(lease, order, advance)).await
    }

    async fn extend(&self, lease: Lease, until: Timestamp) -> Result<(), Error> {
        self.write(self.inner.extend(lease, until)).await
    }

    async fn hand_back(&self, lease: Lease, due: Option<Timestamp>) -> Result<(), Error> {
        self.write(self.inner.hand_back(lease, due)).await
    }

    async fn touch(&self, release: Uuid, at: Timestamp) -> Result<(), Error> {
        self.write(self.inner.touch(release, at)).await
    }

    async fn take_over(&self, targets: &[String], at: Timestamp) -> Result<u64, Error> {
        self.write(self.inner.take_over(targets, at)).await
    }

    async fn next_due(&self, target: &str, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        let target = target.to_owned();
        self.read(|store| async move { store.next_due(&target, now).await }).await
    }

    async fn untold(&self, max: usize) -> Result<Vec<StateChange>, Error> {
        self.read(|store| async move { store.untold(max).await }).await
    }

    async fn told(&self, seq: i64) -> Result<(), Error> {
        self.write(self.inner.told(seq)).await
    }

    async fn revision(&self, scope: &Scope, release: Uuid, number: u64) -> Result<Option<Revision>, Error> {
        let scope = scope.clone();
        self.read(|store| async move { store.revision(&scope, release, number).await }).await
    }
}
