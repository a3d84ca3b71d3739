//! The orders of a twin: each call as it is, unless its fault is there.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use crate::orders::{
    Acceptance, Advance, Claimed, JournalEntry, Lease, NewOrder, Order, OrderFilter, Orders, Refusal,
    Release, ReleaseFilter, ResourceFilter, Revision, RevisionResource, StateChange, TraceOrders,
};
use crate::{Error, ErrorKind};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use orderwire_types::{Action, EventId, OrderState, ReleaseState, Scope};
use tokio::sync::watch;
use uuid::Uuid;

use super::{Fault, Twin, rewrite};

impl Twin {
    fn seen_by(&self, scope: &Scope) -> Scope {
        rewrite::scope(self.fault, scope)
    }

    /// What a stale lease is answered.
    fn answered(&self, result: Result<(), Error>) -> Result<(), Error> {
        match result {
            Err(error) if self.fault == Fault::StaleLeasesWrite && error.kind() == ErrorKind::Conflict => {
                Ok(())
            }
            result => result,
        }
    }
}

#[async_trait]
impl Orders for Twin {
    async fn accept(&self, mut new: NewOrder) -> Result<Acceptance, Error> {
        let (id, target) = (new.order.id, new.order.target.clone());
        match self.fault {
            Fault::TakesCreateForApply if new.order.action == Action::Create => {
                new.order.action = Action::Apply;
            }
            Fault::TakesAnyState => new.order.state = OrderState::Accepted,
            Fault::TrustsTheClock => new.record_refused = true,
            Fault::DescribesAlways => {
                new.order.archtype.get_or_insert("saas".to_owned());
                new.order.hardware.get_or_insert("small".to_owned());
            }
            Fault::NeverRecordsRefused => new.record_refused = false,
            Fault::LastArrivalWins => {
                let count = self.count.fetch_add(1, SeqCst) + 1;
                new.order.ordered_at += SignedDuration::from_hours(count);
            }
            _ => {}
        }
        match (self.fault, self.inner.accept(new).await?) {
            (Fault::ForgetsFingerprints, Acceptance::Refused(Refusal::OtherContent)) => {
                let known = self.inner.order(&Scope::internal("twin"), id).await?;
                Ok(Acceptance::Known(known.unwrap()))
            }
            (Fault::ForgetsWhereItIs, Acceptance::New(order)) => {
                Ok(Acceptance::New(Order { target, ..order }))
            }
            (_, acceptance) => Ok(acceptance),
        }
    }

    async fn cancel(&self, scope: &Scope, order: EventId, at: Timestamp) -> Result<Order, Error> {
        match (self.fault, self.inner.cancel(scope, order, at).await) {
            (Fault::CancelsAnything, Err(error)) if error.kind() == ErrorKind::Conflict => {
                Ok(self.inner.order(scope, order).await?.unwrap())
            }
            (Fault::CancelsHalfDone, Ok(order)) => Ok(Order { state: OrderState::Cancelled, ..order }),
            (_, result) => result,
        }
    }

    async fn claim(
        &self,
        target: &str,
        max: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Claimed>, Error> {
        let take = async |max| self.inner.claim(target, max, now, until).await;
        let mut claimed = take(max + usize::from(self.fault == Fault::ClaimsMore)).await?;
        if self.fault == Fault::ClaimsOnAnyTarget {
            for other in ["t", "u"] {
                claimed.extend(self.inner.claim(other, max - claimed.len(), now, until).await?);
            }
        }
        // Those that it would rather not have make room for those that come after them.
        let unwanted = |claimed: &Claimed| match self.fault {
            Fault::ClaimsUnfairly => claimed.release.client.as_str() != "a",
            Fault::ClaimsOrdersLast => claimed.order.is_some(),
            Fault::ClaimsOrdersOnly => claimed.order.is_none(),
            _ => false,
        };
        if claimed.iter().any(unwanted) {
            claimed.extend(take(4).await?);
            claimed.sort_by_key(unwanted);
            for other in claimed.drain(max.min(claimed.len())..) {
                self.inner.hand_back(other.lease, Some(now)).await?;
            }
        }
        for Claimed { lease, order, journal, .. } in &mut claimed {
            if let Some(order) = order
                && self.fault == Fault::HandsOutAll
            {
                *journal = self.inner.journal(&Scope::internal("twin"), order.id, 0, usize::MAX).await?;
            }
            self.held.lock().unwrap().insert(lease.release);
        }
        Ok(claimed)
    }

    async fn advance(&self, lease: Lease, order: EventId, mut advance: Advance) -> Result<Order, Error> {
        let scope = Scope::internal("twin");
        if let Some(status) = &mut advance.status
            && self.fault == Fault::KeepsNamespaces
            && status.state == ReleaseState::Removed
        {
            status.state = ReleaseState::Absent;
        }
        if self.fault == Fault::ForgetsResources {
            advance.resources.clear();
        }
        if self.fault == Fault::OverwritesFinished
            && let Some((state, _)) = &advance.state
        {
            self.states.lock().unwrap().insert(order, *state);
        }
        let half = Advance { at: advance.at, journal: advance.journal.clone(), ..Advance::default() };
        match (self.fault, self.inner.advance(lease, order, advance).await) {
            (Fault::CommitsHalfBatches, Err(error)) if error.kind() == ErrorKind::Invalid => {
                self.inner.advance(lease, order, half).await?;
                Err(error)
            }
            (Fault::StaleLeasesWrite, Err(error)) if error.kind() == ErrorKind::Conflict => {
                Ok(self.inner.order(&scope, order).await?.unwrap())
            }
            (_, result) => result,
        }
    }

    async fn extend(&self, lease: Lease, until: Timestamp) -> Result<(), Error> {
        self.quiet.send_modify(|n| *n += 1);
        self.answered(self.inner.extend(lease, until).await)
    }

    async fn hand_back(&self, lease: Lease, due: Option<Timestamp>) -> Result<(), Error> {
        self.held.lock().unwrap().remove(&lease.release);
        self.answered(self.inner.hand_back(lease, due).await)
    }

    async fn touch(&self, release: Uuid, at: Timestamp) -> Result<(), Error> {
        let held = self.held.lock().unwrap().contains(&release);
        match self.fault {
            Fault::LosesTouches => Ok(()),
            Fault::LosesTouchesOfHeld if held => Ok(()),
            _ => self.inner.touch(release, at).await,
        }
    }

    async fn take_over(&self, targets: &[String], at: Timestamp) -> Result<u64, Error> {
        if self.fault == Fault::LosesTouches { Ok(0) } else { self.inner.take_over(targets, at).await }
    }

    async fn next_due(&self, target: &str, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        let next = self.inner.next_due(target, now).await?;
        Ok(next.filter(|_| self.fault != Fault::ForgetsWhatIsDue))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        match self.fault {
            Fault::NoticesNothing | Fault::NoticesTooMuch => self.quiet.subscribe(),
            _ => self.inner.changes(),
        }
    }

    async fn untold(&self, max: usize) -> Result<Vec<StateChange>, Error> {
        self.inner.untold(max).await
    }

    async fn told(&self, seq: i64) -> Result<(), Error> {
        let more = i64::from(self.fault == Fault::ForgetsUntold);
        self.inner.told(seq.saturating_add(more)).await
    }

    async fn order(&self, scope: &Scope, id: EventId) -> Result<Option<Order>, Error> {
        let mut order = self.inner.order(&self.seen_by(scope), id).await?;
        if let Some(order) = &mut order {
            if let Some(state) = self.states.lock().unwrap().get(&id) {
                order.state = *state;
            }
            if self.fault == Fault::ForgetsOlderOrders && order.state == OrderState::Superseded {
                order.state = OrderState::Accepted;
            }
        }
        Ok(order)
    }

    async fn orders(
        &self,
        scope: &Scope,
        filter: &OrderFilter,
        after: Option<EventId>,
        max: usize,
    ) -> Result<Vec<Order>, Error> {
        let none = OrderFilter::default();
        let filter = if self.fault == Fault::IgnoresFilters { &none } else { filter };
        self.inner.orders(&self.seen_by(scope), filter, after, max).await
    }

    async fn journal(
        &self,
        scope: &Scope,
        order: EventId,
        after: u64,
        max: usize,
    ) -> Result<Vec<JournalEntry>, Error> {
        self.inner.journal(&self.seen_by(scope), order, after, max).await
    }

    async fn release(&self, scope: &Scope, id: Uuid) -> Result<Option<Release>, Error> {
        self.inner.release(&self.seen_by(scope), id).await
    }

    async fn releases(
        &self,
        scope: &Scope,
        filter: &ReleaseFilter,
        after: Option<Uuid>,
        max: usize,
    ) -> Result<Vec<Release>, Error> {
        let none = ReleaseFilter::default();
        let filter = if self.fault == Fault::IgnoresFilters { &none } else { filter };
        self.inner.releases(&self.seen_by(scope), filter, after, max).await
    }

    async fn revision(&self, scope: &Scope, release: Uuid, number: u64) -> Result<Option<Revision>, Error> {
        self.inner.revision(&self.seen_by(scope), release, number).await
    }

    async fn revisions(
        &self,
        scope: &Scope,
        release: Uuid,
        before: Option<u64>,
        max: usize,
    ) -> Result<Vec<Revision>, Error> {
        self.inner.revisions(&self.seen_by(scope), release, before, max).await
    }

    async fn resources(
        &self,
        scope: &Scope,
        filter: &ResourceFilter,
        max: usize,
    ) -> Result<Vec<RevisionResource>, Error> {
        let mut filter = filter.clone();
        if self.fault == Fault::IgnoresFilters {
            filter = ResourceFilter::default();
        }
        self.inner.resources(&self.seen_by(scope), &filter, max).await
    }

    async fn trace_orders(&self, scope: &Scope, trace: Uuid) -> Result<TraceOrders, Error> {
        self.inner.trace_orders(&self.seen_by(scope), trace).await
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
        let (before, limit) = match self.fault {
            Fault::SweepsTooEarly => (before + SignedDuration::from_hours(24), limit),
            Fault::SweepsWithoutLimit => (before, usize::MAX),
            _ => (before, limit),
        };
        let untold_for = if self.fault == Fault::SweepsUntold { Duration::ZERO } else { untold_for };
        self.inner.sweep_orders(before, keep, untold_for, limit).await
    }
}
