//! The work on one claimed release, from claim to hand back.

use std::sync::Arc;

use jiff::Timestamp;
use orderwire_store::orders::{Claimed, JournalEntry, Lease, Order, Release};
use orderwire_store::{Error, ErrorKind};
use orderwire_types::{Action, OrderState};

use super::{Shared, later};
use crate::content::Content;

/// What comes next.
pub(super) enum Flow {
    /// The next step, at once.
    On,
    /// Nothing before this moment; `None` when only something new makes it due.
    Due(Option<Timestamp>),
}

/// Why the work does not go on as it was.
#[derive(Debug)]
pub(super) enum Stop {
    /// The lease is somebody else's.
    Lost,
    /// A newer order is there.
    Superseded,
    /// The order is to be cancelled.
    Cancelled,
    /// The store does not do what it is asked now.
    Store(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Conflict => Self::Lost,
            _ => Self::Store(error),
        }
    }
}

/// A release under a lease. The order, the status and the journal are those of the
/// store: every advance is done there first.
pub(super) struct Work {
    pub(super) shared: Arc<Shared>,
    pub(super) lease: Lease,
    pub(super) release: Release,
    pub(super) order: Option<Order>,
    pub(super) journal: Vec<JournalEntry>,
    /// The content of the revision that was looked at last.
    pub(super) loaded: Option<(u64, Arc<Content>)>,
    /// The number of a key that was written down under this lease and is not made
    /// yet.
    pub(super) unmade: Option<u64>,
    /// When the step in hand began.
    pub(super) began: Timestamp,
}

impl Work {
    pub(super) fn new(shared: Arc<Shared>, claimed: Claimed) -> Self {
        let Claimed { lease, release, order, journal } = claimed;
        let began = shared.now();
        Self { shared, lease, release, order, journal, loaded: None, unmade: None, began }
    }

    /// Works under the lease and hands it back. When the lease is lost, whatever is
    /// in flight is dropped.
    pub(super) async fn run(mut self) {
        let (shared, lease) = (Arc::clone(&self.shared), self.lease);
        let due = tokio::select! {
            due = Box::pin(self.work()) => due,
            () = keep(&shared, lease) => Err(Lost),
        };
        let handed_back = match due {
            Ok(due) => shared.parts.store.hand_back(lease, due).await,
            Err(Lost) => Err(Error::new(ErrorKind::Conflict, "the lease is lost")),
        };
        match handed_back {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Conflict => {
                metrics::counter!("orderwire_leases_lost_total").increment(1);
                tracing::warn!(release.id = %lease.release, "somebody else works on the release; it is left to them");
            }
            Err(error) => {
                tracing::warn!(release.id = %lease.release, error = %error,
                    "handing back a release failed; it is worked on again when its lease has run out");
            }
        }
    }

    /// Goes on until there is nothing to do before some moment.
    async fn work(&mut self) -> Result<Option<Timestamp>, Lost> {
        loop {
            if self.shared.stopping.is_cancelled() {
                return Ok(Some(self.shared.now()));
            }
            self.began = self.shared.now();
            let flow = match &self.order {
                _ if self.is_stranded() => self.strand().await,
                Some(order) => self.next(order.state, order.action, order.cancel).await,
                None => self.supervise().await,
            };
            match flow {
                Ok(Flow::On) | Err(Stop::Cancelled) => {}
                Ok(Flow::Due(due)) => return Ok(due),
                // Whoever claims next goes on with the newer order.
                Err(Stop::Superseded) => return Ok(Some(self.shared.now())),
                Err(Stop::Lost) => return Err(Lost),
                Err(Stop::Store(error)) => {
                    let pause = self.shared.options.pause.after(self.shared.memory.failed(self.release.id));
                    tracing::warn!(release.id = %self.release.id, error = %error,
                        "the store failed in the work on a release; it is tried again");
                    return Ok(Some(later(self.shared.now(), pause)));
                }
            }
        }
    }

    /// The next step of an order follows from its state and its journal alone.
    async fn next(&mut self, state: OrderState, action: Action, cancel: bool) -> Result<Flow, Stop> {
        match (state, action) {
            (state, _) if state.is_final() => Ok(Flow::Due(Some(self.shared.now()))),
            (OrderState::RollingBack, _) => self.restore().await,
            (OrderState::Removing, _) => self.remove().await,
            _ if cancel => self.cancel().await,
            (_, Action::Remove) => self.begin_removal().await,
            (OrderState::Accepted, _) => self.plan().await,
            (OrderState::Planned, _) => self.prepare().await,
            _ => self.carry_order().await,
        }
    }
}

/// The lease is somebody else's.
struct Lost;

/// Prolongs a lease for as long as it is polled; returns when it is lost.
async fn keep(shared: &Shared, lease: Lease) {
    let length = shared.options.lease;
    let mut ends = later(shared.now(), length);
    loop {
        shared.parts.clock.sleep_until(later(shared.now(), length / 3)).await;
        let until = later(shared.now(), length);
        let extended = tokio::select! {
            biased;
            extended = shared.parts.store.extend(lease, until) => extended,
            () = shared.parts.clock.sleep_until(later(ends, length)) => return,
        };
        match extended {
            Ok(()) => ends = until,
            Err(error) if error.kind() == ErrorKind::Conflict => return,
            Err(error) if shared.now() >= ends => {
                tracing::warn!(release.id = %lease.release, error = %error, "a lease could not be prolonged");
                return;
            }
            Err(_) => {}
        }
    }
}
