//! Orders, releases, revisions.
//!
//! Every change of an order's state is written down to be told in the same
//! transaction (`state`); every change of what is due keeps the turns of
//! clients true (`due`), from which a claim finds its release by index.
//!
//! Of all processes on the database one writes at a time ([`alone`]). Which client's turn
//! it is, whose a namespace is, which order is the newest: each depends on what the others
//! do, orders are few, and what they lead to takes far longer than a transaction. Looking
//! whether there is anything to do waits for nobody.

mod accept;
mod advance;
mod claim;
mod due;
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
use tokio::sync::watch;
use uuid::Uuid;

use super::error::{Failure, damaged};
use super::open::PostgresStore;
use super::session::{Session, read, write};

/// The key of the advisory lock, "owor".
const LOCK: i64 = 0x6f77_6f72;

/// Waits until nobody else writes, until the end of the transaction.
async fn alone(session: &Session) -> Result<(), Failure> {
    session.rows("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await.map(drop)
}

/// Numbers a change, so that other processes notice it.
async fn count(session: &Session) -> Result<i64, Failure> {
    let counting = "UPDATE store.order_changes SET number = number + 1 WHERE id = 1 RETURNING number";
    let row = session.row(counting, &[]).await?.ok_or_else(|| damaged("number of changes of orders"))?;
    Ok(row.try_get(0)?)
}

/// Does a write, which returns whether an order or release changed, too.
macro_rules! change {
    ($store:expr, $what:expr, |$session:ident| $change:expr) => {{
        // Of this process one waits at the database; the others keep no connection.
        let _turn = $store.shared.orders_turn.lock().await;
        let (done, number) = write!(&$store.shared.database, $what, |$session| {
            alone($session).await?;
            let changing: Result<(_, bool), Failure> = $change;
            let (done, changed) = changing?;
            let number = if changed { Some(count($session).await?) } else { None };
            Ok((done, number))
        })?;
        if let Some(number) = number {
            $store.shared.orders_changed_by_us(number);
        }
        Ok(done)
    }};
}

#[async_trait]
impl Orders for PostgresStore {
    async fn accept(&self, order: NewOrder) -> Result<Acceptance, Error> {
        change!(self, "accepting an order", |session| {
            let accepted = accept::accept(session, &order).await?;
            let is_new = matches!(accepted, Acceptance::New(_));
            Ok((accepted, is_new))
        })
    }

    async fn cancel(&self, scope: &Scope, order: EventId, at: Timestamp) -> Result<Order, Error> {
        change!(self, "cancelling an order", |session| accept::cancel(session, scope, order, at).await)
    }

    async fn claim(
        &self,
        target: &str,
        max: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        let what = "claiming releases";
        if !read!(&self.shared.database, what, |session| claim::is_due(session, target, now).await)? {
            return Ok(Vec::new());
        }
        change!(self, what, |session| Ok((claim::claim(session, target, max, now, until).await?, false)))
    }

    async fn advance(&self, lease: Lease, order: EventId, advance: Advance) -> Result<Order, Error> {
        change!(self, "advancing a release", |session| {
            Ok((advance::advance(session, lease, order, &advance).await?, true))
        })
    }

    async fn extend(&self, lease: Lease, until: Timestamp) -> Result<(), Error> {
        change!(self, "extending a lease", |session| {
            Ok((due::extend(session, lease, until).await?, false))
        })
    }

    async fn hand_back(&self, lease: Lease, due: Option<Timestamp>) -> Result<(), Error> {
        change!(self, "handing back a release", |session| {
            Ok((due::hand_back(session, lease, due).await?, true))
        })
    }

    async fn touch(&self, release: Uuid, at: Timestamp) -> Result<(), Error> {
        change!(self, "touching a release", |session| Ok(((), due::wake(session, release, at).await?)))
    }

    async fn take_over(&self, targets: &[String], at: Timestamp) -> Result<u64, Error> {
        change!(self, "taking releases over", |session| {
            Ok((due::take_over(session, targets, at).await?, true))
        })
    }

    async fn next_due(&self, target: &str, _: Timestamp) -> Result<Option<Timestamp>, Error> {
        read!(&self.shared.database, "reading what is due", |session| due::next_due(session, target).await)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.shared.orders_changed.subscribe()
    }

    async fn untold(&self, max: usize) -> Result<Vec<StateChange>, Error> {
        read!(&self.shared.database, "reading changes of orders", |session| read::untold(session, max).await)
    }

    async fn told(&self, seq: i64) -> Result<(), Error> {
        write!(&self.shared.database, "forgetting changes of orders", |session| {
            session.execute("DELETE FROM store.order_change WHERE seq <= $1", &[&seq]).await.map(drop)
        })
    }

    async fn order(&self, scope: &Scope, id: EventId) -> Result<Option<Order>, Error> {
        read!(&self.shared.database, "reading an order", |session| read::order(session, scope, id).await)
    }

    async fn orders(
        &self,
        scope: &Scope,
        filter: &OrderFilter,
        after: Option<EventId>,
        max: usize,
    ) -> Result<Vec<Order>, Error> {
        read!(&self.shared.database, "listing orders", |session| read::orders(
            session, scope, filter, after, max
        )
        .await)
    }

    async fn journal(
        &self,
        scope: &Scope,
        order: EventId,
        after: u64,
        max: usize,
    ) -> Result<Vec<JournalEntry>, Error> {
        read!(&self.shared.database, "reading a journal", |session| read::journal(
            session, scope, order, after, max
        )
        .await)
    }

    async fn release(&self, scope: &Scope, id: Uuid) -> Result<Option<Release>, Error> {
        read!(&self.shared.database, "reading a release", |session| read::release(session, scope, id).await)
    }

    async fn releases(
        &self,
        scope: &Scope,
        filter: &ReleaseFilter,
        after: Option<Uuid>,
        max: usize,
    ) -> Result<Vec<Release>, Error> {
        read!(&self.shared.database, "listing releases", |session| read::releases(
            session, scope, filter, after, max
        )
        .await)
    }

    async fn revision(&self, scope: &Scope, release: Uuid, number: u64) -> Result<Option<Revision>, Error> {
        read!(&self.shared.database, "reading a revision", |session| read::revision(
            session, scope, release, number
        )
        .await)
    }

    async fn revisions(
        &self,
        scope: &Scope,
        release: Uuid,
        before: Option<u64>,
        max: usize,
    ) -> Result<Vec<Revision>, Error> {
        read!(&self.shared.database, "listing revisions", |session| read::revisions(
            session, scope, release, before, max
        )
        .await)
    }

    async fn resources(
        &self,
        scope: &Scope,
        filter: &ResourceFilter,
        max: usize,
    ) -> Result<Vec<RevisionResource>, Error> {
        read!(&self.shared.database, "listing resources", |session| read::resources(
            session, scope, filter, max
        )
        .await)
    }

    async fn trace_orders(&self, scope: &Scope, trace: Uuid) -> Result<TraceOrders, Error> {
        read!(&self.shared.database, "reading the orders of a trace", |session| read::trace_orders(
            session, scope, trace
        )
        .await)
    }

    async fn hash_key(&self) -> Result<[u8; 32], Error> {
        if let Some(key) =
            read!(&self.shared.database, "reading the hash key", |session| hash_key(session).await)?
        {
            return Ok(key);
        }
        write!(&self.shared.database, "making the hash key", |session| {
            // Of 256 bits 244 are random.
            let mut key = [0; 32];
            for half in key.chunks_exact_mut(16) {
                half.copy_from_slice(Uuid::new_v4().as_bytes());
            }
            // Whoever is second waits for the first, and finds its key.
            let sql = "UPDATE store.provisioner SET hash_key = $1 WHERE hash_key IS NULL";
            session.execute(sql, &[&&key[..]]).await?;
            Ok(hash_key(session).await?.ok_or_else(|| damaged("hash key"))?)
        })
    }

    async fn sweep_orders(
        &self,
        before: Timestamp,
        keep: u64,
        untold_for: Duration,
        limit: usize,
    ) -> Result<u64, Error> {
        change!(self, "sweeping orders", |session| {
            Ok((sweep::sweep(session, before, keep, untold_for, limit).await?, false))
        })
    }
}

async fn hash_key(session: &Session) -> Result<Option<[u8; 32]>, Failure> {
    let row = session.row("SELECT hash_key FROM store.provisioner", &[]).await?;
    let row = row.ok_or_else(|| damaged("hash key"))?;
    let stored: Option<&[u8]> = row.try_get(0)?;
    Ok(stored.map(|key| key.try_into().map_err(|_| damaged("hash key"))).transpose()?)
}
