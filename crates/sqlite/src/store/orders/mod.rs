//! Orders, releases, revisions.
//!
//! Every change of an order's state is written down to be told in the same
//! transaction (`state`); every change of what is due keeps the turns of
//! clients true (`due`), from which a claim finds its release by index.

mod accept;
mod advance;
mod claim;
mod due;
#[cfg(test)]
mod plans;
mod read;
mod rows;
mod state;
mod sweep;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_store::Error;
use orderwire_store::orders::{
    Acceptance, Advance, Claimed, JournalEntry, Lease, NewOrder, Order, OrderFilter, Orders, Release,
    ReleaseFilter, ResourceFilter, Revision, RevisionResource, StateChange, TraceOrders,
};
use orderwire_types::{EventId, Scope};
use rusqlite::Connection;
use tokio::sync::watch;
use uuid::Uuid;

use super::SqliteStore;
use super::error::damaged_value;
use super::writer::{Effect, Transaction};

/// Notes that an order or release changed.
fn changed(transaction: &mut Transaction<'_>) {
    transaction.memory.effects.push(Effect::Orders);
}

#[async_trait]
impl Orders for SqliteStore {
    async fn accept(&self, order: NewOrder) -> Result<Acceptance, Error> {
        self.write("accepting an order", move |transaction| accept::accept(transaction, &order)).await
    }

    async fn cancel(&self, scope: &Scope, order: EventId, at: Timestamp) -> Result<Order, Error> {
        let scope = scope.clone();
        self.write("cancelling an order", move |transaction| accept::cancel(transaction, &scope, order, at))
            .await
    }

    async fn claim(
        &self,
        target: &str,
        max: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        let target = target.to_owned();
        self.write("claiming releases", move |transaction| {
            claim::claim(transaction.connection, &target, max, now, until)
        })
        .await
    }

    async fn advance(&self, lease: Lease, order: EventId, advance: Advance) -> Result<Order, Error> {
        self.write("advancing a release", move |transaction| {
            advance::advance(transaction, lease, order, &advance)
        })
        .await
    }

    async fn extend(&self, lease: Lease, until: Timestamp) -> Result<(), Error> {
        self.write("extending a lease", move |transaction| due::extend(transaction.connection, lease, until))
            .await
    }

    async fn hand_back(&self, lease: Lease, due: Option<Timestamp>) -> Result<(), Error> {
        self.write("handing back a release", move |transaction| {
            due::hand_back(transaction.connection, lease, due)?;
            changed(transaction);
            Ok(())
        })
        .await
    }

    async fn touch(&self, release: Uuid, at: Timestamp) -> Result<(), Error> {
        self.write("touching a release", move |transaction| {
            if due::wake(transaction.connection, release, at.as_microsecond())? {
                changed(transaction);
            }
            Ok(())
        })
        .await
    }

    async fn take_over(&self, targets: &[String], at: Timestamp) -> Result<u64, Error> {
        let targets = targets.to_vec();
        self.write("taking releases over", move |transaction| {
            let due = due::take_over(transaction.connection, &targets, at)?;
            changed(transaction);
            Ok(due)
        })
        .await
    }

    async fn next_due(&self, target: &str, _: Timestamp) -> Result<Option<Timestamp>, Error> {
        let target = target.to_owned();
        self.look_up("reading what is due", move |db| due::next_due(db, &target)).await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.orders_changed.subscribe()
    }

    async fn untold(&self, max: usize) -> Result<Vec<StateChange>, Error> {
        self.look_up("reading changes of orders", move |db| read::untold(db, max)).await
    }

    async fn told(&self, seq: i64) -> Result<(), Error> {
        self.write("forgetting changes of orders", move |transaction| {
            let sql = "DELETE FROM order_change WHERE seq <= ?1";
            Ok(transaction.connection.prepare_cached(sql)?.execute([seq]).map(drop)?)
        })
        .await
    }

    async fn order(&self, scope: &Scope, id: EventId) -> Result<Option<Order>, Error> {
        let scope = scope.clone();
        self.look_up("reading an order", move |db| read::order(db, &scope, id)).await
    }

    async fn orders(
        &self,
        scope: &Scope,
        filter: &OrderFilter,
        after: Option<EventId>,
        max: usize,
    ) -> Result<Vec<Order>, Error> {
        let (scope, filter) = (scope.clone(), filter.clone());
        self.look_up("listing orders", move |db| read::orders(db, &scope, &filter, after, max)).await
    }

    async fn journal(
        &self,
        scope: &Scope,
        order: EventId,
        after: u64,
        max: usize,
    ) -> Result<Vec<JournalEntry>, Error> {
        let scope = scope.clone();
        self.look_up("reading a journal", move |db| read::journal(db, &scope, order, after, max)).await
    }

    async fn release(&self, scope: &Scope, id: Uuid) -> Result<Option<Release>, Error> {
        let scope = scope.clone();
        self.look_up("reading a release", move |db| read::release(db, &scope, id)).await
    }

    async fn releases(
        &self,
        scope: &Scope,
        filter: &ReleaseFilter,
        after: Option<Uuid>,
        max: usize,
    ) -> Result<Vec<Release>, Error> {
        let (scope, filter) = (scope.clone(), filter.clone());
        self.look_up("listing releases", move |db| read::releases(db, &scope, &filter, after, max)).await
    }

    async fn revision(&self, scope: &Scope, release: Uuid, number: u64) -> Result<Option<Revision>, Error> {
        let scope = scope.clone();
        self.look_up("reading a revision", move |db| read::revision(db, &scope, release, number)).await
    }

    async fn revisions(
        &self,
        scope: &Scope,
        release: Uuid,
        before: Option<u64>,
        max: usize,
    ) -> Result<Vec<Revision>, Error> {
        let scope = scope.clone();
        self.look_up("listing revisions", move |db| read::revisions(db, &scope, release, before, max)).await
    }

    async fn resources(
        &self,
        scope: &Scope,
        filter: &ResourceFilter,
        max: usize,
    ) -> Result<Vec<RevisionResource>, Error> {
        let (scope, filter) = (scope.clone(), filter.clone());
        self.look_up("listing resources", move |db| read::resources(db, &scope, &filter, max)).await
    }

    async fn trace_orders(&self, scope: &Scope, trace: Uuid) -> Result<TraceOrders, Error> {
        let scope = scope.clone();
        self.look_up("reading the orders of a trace", move |db| read::trace_orders(db, &scope, trace)).await
    }

    async fn hash_key(&self) -> Result<[u8; 32], Error> {
        if let Some(key) = self.look_up("reading the hash key", hash_key).await? {
            return Ok(key);
        }
        self.write("making the hash key", |transaction| {
            // Of 256 bits 244 are random.
            let mut key = [0; 32];
            for half in key.chunks_exact_mut(16) {
                half.copy_from_slice(Uuid::new_v4().as_bytes());
            }
            let sql = "UPDATE provisioner SET hash_key = ?1 WHERE hash_key IS NULL";
            transaction.connection.prepare_cached(sql)?.execute([&key[..]])?;
            Ok(hash_key(transaction.connection)?.ok_or_else(|| damaged_value(0, "hash key"))?)
        })
        .await
    }

    async fn sweep_orders(
        &self,
        before: Timestamp,
        keep: u64,
        untold_for: Duration,
        limit: usize,
    ) -> Result<u64, Error> {
        self.write("sweeping orders", move |transaction| {
            sweep::sweep(transaction.connection, before, keep, untold_for, limit)
        })
        .await
    }
}

fn hash_key(db: &Connection) -> rusqlite::Result<Option<[u8; 32]>> {
    let stored: Option<Vec<u8>> =
        db.prepare_cached("SELECT hash_key FROM provisioner")?.query_row([], |row| row.get(0))?;
    stored.map(|key| key.try_into().map_err(|_| damaged_value(0, "hash key"))).transpose()
}
