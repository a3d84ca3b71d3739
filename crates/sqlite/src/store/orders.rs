//! Orders, releases, revisions.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_store::Error;
use orderwire_store::orders::{
    Acceptance, Advance, Claimed, JournalEntry, Lease, NewOrder, Order, OrderFilter, Orders, Release,
    ReleaseFilter, Revision, StateChange, TraceOrders,
};
use orderwire_types::{EventId, Scope};
use tokio::sync::watch;
use uuid::Uuid;

use super::SqliteStore;

#[async_trait]
impl Orders for SqliteStore {
    async fn accept(&self, _: NewOrder) -> Result<Acceptance, Error> {
        todo!()
    }

    async fn cancel(&self, _: &Scope, _: EventId, _: Timestamp) -> Result<Order, Error> {
        todo!()
    }

    async fn claim(&self, _: &[String], _: Timestamp, _: Timestamp) -> Result<Option<Claimed>, Error> {
        todo!()
    }

    async fn advance(&self, _: Lease, _: EventId, _: Advance) -> Result<Order, Error> {
        todo!()
    }

    async fn extend(&self, _: Lease, _: Timestamp) -> Result<(), Error> {
        todo!()
    }

    async fn hand_back(&self, _: Lease, _: Option<Timestamp>) -> Result<(), Error> {
        todo!()
    }

    async fn touch(&self, _: Uuid, _: Timestamp) -> Result<(), Error> {
        todo!()
    }

    async fn touch_all(&self, _: &[String], _: Timestamp) -> Result<u64, Error> {
        todo!()
    }

    async fn next_due(&self, _: &[String], _: Timestamp) -> Result<Option<Timestamp>, Error> {
        todo!()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        todo!()
    }

    async fn untold(&self, _: usize) -> Result<Vec<StateChange>, Error> {
        todo!()
    }

    async fn told(&self, _: i64) -> Result<(), Error> {
        todo!()
    }

    async fn order(&self, _: &Scope, _: EventId) -> Result<Option<Order>, Error> {
        todo!()
    }

    async fn orders(
        &self,
        _: &Scope,
        _: &OrderFilter,
        _: Option<EventId>,
        _: usize,
    ) -> Result<Vec<Order>, Error> {
        todo!()
    }

    async fn journal(&self, _: &Scope, _: EventId, _: u64, _: usize) -> Result<Vec<JournalEntry>, Error> {
        todo!()
    }

    async fn release(&self, _: &Scope, _: Uuid) -> Result<Option<Release>, Error> {
        todo!()
    }

    async fn releases(
        &self,
        _: &Scope,
        _: &ReleaseFilter,
        _: Option<Uuid>,
        _: usize,
    ) -> Result<Vec<Release>, Error> {
        todo!()
    }

    async fn revision(&self, _: &Scope, _: Uuid, _: u64) -> Result<Option<Revision>, Error> {
        todo!()
    }

    async fn revisions(&self, _: &Scope, _: Uuid, _: Option<u64>, _: usize) -> Result<Vec<Revision>, Error> {
        todo!()
    }

    async fn trace_orders(&self, _: &Scope, _: Uuid) -> Result<TraceOrders, Error> {
        todo!()
    }

    async fn hash_key(&self) -> Result<[u8; 32], Error> {
        todo!()
    }

    async fn sweep_orders(&self, _: Timestamp, _: u64, _: Duration, _: usize) -> Result<u64, Error> {
        todo!()
    }
}
