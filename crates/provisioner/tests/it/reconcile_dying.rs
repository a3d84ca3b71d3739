//! A store that dies at one of its writes: from then on every write pends for ever,
//! as if the process had been killed there.

use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_sqlite::store::SqliteStore;
use orderwire_store::orders::*;
use orderwire_store::*;
use orderwire_types::dataset::DatasetDef;
use orderwire_types::step::TraceRecord;
use orderwire_types::{Client, DatasetName, EventId, Scope};
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

#[async_trait]
impl Datasets for DyingStore {
    async fn define(
        &self,
        scope: &Scope,
        name: &DatasetName,
        def: &DatasetDef,
        now: Timestamp,
    ) -> Result<Defined, Error> {
        self.write(self.inner.define(scope, name, def, now)).await
    }

    fn dataset(&self, scope: &Scope, name: &DatasetName) -> Option<Arc<Dataset>> {
        self.inner.dataset(scope, name)
    }

    fn datasets(&self, scope: &Scope) -> Vec<Arc<Dataset>> {
        self.inner.datasets(scope)
    }

    async fn remove(&self, scope: &Scope, name: &DatasetName) -> Result<(), Error> {
        self.inner.remove(scope, name).await
    }

    async fn record(&self, recording: Recording) -> Result<Vec<RowsRecorded>, Error> {
        self.inner.record(recording).await
    }

    async fn position(&self, reader: &str) -> Result<i64, Error> {
        self.inner.position(reader).await
    }

    async fn skip(&self, reader: &str, from: i64, to: i64) -> Result<(), Error> {
        self.inner.skip(reader, from, to).await
    }

    async fn imported(
        &self,
        scope: &Scope,
        name: &DatasetName,
        client: &Client,
        file: &str,
    ) -> Result<u64, Error> {
        self.inner.imported(scope, name, client, file).await
    }

    async fn select(
        &self,
        scope: &Scope,
        select: Select,
        sink: Box<dyn RowSink>,
        time_out: Duration,
    ) -> Result<(Selected, Box<dyn RowSink>), Error> {
        self.inner.select(scope, select, sink, time_out).await
    }

    fn generation(&self, name: &DatasetName) -> u64 {
        self.inner.generation(name)
    }

    async fn sweep(&self, now: Timestamp, traces_before: Timestamp, limit: usize) -> Result<u64, Error> {
        self.inner.sweep(now, traces_before, limit).await
    }
}

#[async_trait]
impl Clients for DyingStore {
    async fn change_clients(&self, changes: &[ClientChange]) -> Result<(), Error> {
        self.inner.change_clients(changes).await
    }

    async fn client(&self, scope: &Scope, client: &Client) -> Result<Option<ClientRecord>, Error> {
        self.inner.client(scope, client).await
    }

    async fn clients(
        &self,
        scope: &Scope,
        after: Option<&Client>,
        max: usize,
    ) -> Result<Vec<ClientRecord>, Error> {
        self.inner.clients(scope, after, max).await
    }
}

#[async_trait]
impl Keys for DyingStore {
    async fn add_key(&self, key: &KeyRecord) -> Result<(), Error> {
        self.inner.add_key(key).await
    }

    async fn key(&self, id: &str) -> Result<Option<KeyRecord>, Error> {
        self.inner.key(id).await
    }

    async fn keys(&self) -> Result<Vec<KeyRecord>, Error> {
        self.inner.keys().await
    }

    async fn revoke_key(&self, id: &str, now: Timestamp) -> Result<(), Error> {
        self.inner.revoke_key(id, now).await
    }
}

#[async_trait]
impl Traces for DyingStore {
    async fn add_steps(&self, records: &[TraceRecord]) -> Result<(), Error> {
        self.inner.add_steps(records).await
    }

    async fn trace(&self, scope: &Scope, trace: Uuid) -> Result<TraceView, Error> {
        self.inner.trace(scope, trace).await
    }
}

#[async_trait]
impl Orders for DyingStore {
    async fn accept(&self, order: NewOrder) -> Result<Acceptance, Error> {
        self.inner.accept(order).await
    }

    async fn cancel(&self, scope: &Scope, order: EventId, at: Timestamp) -> Result<Order, Error> {
        self.inner.cancel(scope, order, at).await
    }

    async fn claim(
        &self,
        targets: &[String],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Claimed>, Error> {
        self.write(self.inner.claim(targets, now, until)).await
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

    async fn touch_all(&self, targets: &[String], at: Timestamp) -> Result<u64, Error> {
        self.write(self.inner.touch_all(targets, at)).await
    }

    async fn next_due(&self, targets: &[String], now: Timestamp) -> Result<Option<Timestamp>, Error> {
        let targets = targets.to_vec();
        self.read(|store| async move { store.next_due(&targets, now).await }).await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes()
    }

    async fn untold(&self, max: usize) -> Result<Vec<StateChange>, Error> {
        self.read(|store| async move { store.untold(max).await }).await
    }

    async fn told(&self, seq: i64) -> Result<(), Error> {
        self.write(self.inner.told(seq)).await
    }

    async fn order(&self, scope: &Scope, id: EventId) -> Result<Option<Order>, Error> {
        self.inner.order(scope, id).await
    }

    async fn orders(
        &self,
        scope: &Scope,
        filter: &OrderFilter,
        after: Option<EventId>,
        max: usize,
    ) -> Result<Vec<Order>, Error> {
        self.inner.orders(scope, filter, after, max).await
    }

    async fn journal(
        &self,
        scope: &Scope,
        order: EventId,
        after: u64,
        max: usize,
    ) -> Result<Vec<JournalEntry>, Error> {
        self.inner.journal(scope, order, after, max).await
    }

    async fn release(&self, scope: &Scope, id: Uuid) -> Result<Option<Release>, Error> {
        self.inner.release(scope, id).await
    }

    async fn releases(
        &self,
        scope: &Scope,
        filter: &ReleaseFilter,
        after: Option<Uuid>,
        max: usize,
    ) -> Result<Vec<Release>, Error> {
        self.inner.releases(scope, filter, after, max).await
    }

    async fn revision(&self, scope: &Scope, release: Uuid, number: u64) -> Result<Option<Revision>, Error> {
        let scope = scope.clone();
        self.read(|store| async move { store.revision(&scope, release, number).await }).await
    }

    async fn revisions(
        &self,
        scope: &Scope,
        release: Uuid,
        before: Option<u64>,
        max: usize,
    ) -> Result<Vec<Revision>, Error> {
        self.inner.revisions(scope, release, before, max).await
    }

    async fn trace_orders(&self, scope: &Scope, trace: Uuid) -> Result<TraceOrders, Error> {
        self.inner.trace_orders(scope, trace).await
    }

    async fn hash_key(&self) -> Result<[u8; 32], Error> {
        self.inner.hash_key().await
    }

    async fn sweep_orders(
        &self,
        before: Timestamp,
        keep: u64,
        untold_for: Duration,
        limit: usize,
    ) -> Result<u64, Error> {
        self.inner.sweep_orders(before, keep, untold_for, limit).await
    }
}
