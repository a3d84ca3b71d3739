//! What the provisioner keeps: orders, releases, their revisions and the
//! journal of its work.
//!
//! ```text
//! accept ─→ order (accepted) ──→ claim ─→ advance … advance ─→ hand back ─→ order (final)
//!           release (due)         lease    journal, states,     due again or
//!                                          revisions, trace     nothing to do
//! ```
//!
//! An order belongs to one release; a release has one unfinished order at most:
//! a newer one supersedes those before it. Whoever works on a release holds its
//! lease; everything that changes with the work goes through [`Orders::advance`],
//! one durable transaction a call.

mod model;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_types::{EventId, Scope};
use tokio::sync::watch;
use uuid::Uuid;

pub use self::model::*;
use crate::error::Error;

/// One in so many releases that are claimed is one without an unfinished order, if
/// such a one is due.
pub const PATROL: u64 = 8;

/// Orders, releases and revisions. For the provisioner's own use; what the outside
/// reads takes a scope.
///
/// "Removed" means: the release stays readable by id and with the filter's
/// `removed`, its name and namespace are free again.
#[async_trait]
pub trait Orders: Send + Sync {
    /// Records an order, once per id, in one durable transaction that decides
    /// everything about it:
    ///
    /// - an id that is there: `Known`, or `Refused(OtherContent)` when the
    ///   fingerprint differs; nothing else happens;
    /// - an order in state `failed`: recorded as it is, without a release;
    /// - a release that is there by (client, environment, name) is used, on the
    ///   target where it is (which the recorded order names); `create` of it (unless
    ///   its state is `Absent` and its newest order is final: nothing of it is there),
    ///   another product or another namespace is refused. Orders that say how it
    ///   shall be (`apply`, `create`, `update`) set its archtype and hardware where
    ///   they name them;
    /// - a release that is not there is made for `apply` and `create`; its
    ///   namespace on the target then belongs to (client, environment) for as
    ///   long as a release lives in it, and one that belongs to others is refused;
    ///   for other actions it is refused as missing;
    /// - an order that can be refused (`record_refused` is false) was asked for this
    ///   moment, whatever the clock says: its `ordered_at` becomes that of the newest
    ///   order of the release if it is before it;
    /// - an order whose `ordered_at` is before that of the newest order of the
    ///   release is recorded as `superseded`; the same moment counts as newer;
    /// - otherwise the unfinished orders of the release become `superseded` (by
    ///   which order is their reason), `release.order` and `release.trace` are
    ///   this order's, and the release is due at once.
    ///
    /// Every order that changes its state here, this one included, is told by
    /// [`Orders::untold`]. Refusals are checked in the order of [`Refusal`]'s
    /// variants after the first bullet. An order that ends here for a reason that
    /// only the store knows (superseded, refused but recorded) gets a step of its
    /// trace that says so: role `provisioner`, step and outcome are the state,
    /// detail the reason.
    ///
    /// # Errors
    /// `Invalid` for an order that is neither `accepted` nor `failed`.
    async fn accept(&self, order: NewOrder) -> Result<Acceptance, Error>;

    /// Asks to cancel an order. One that is `accepted`, whose release nobody holds or
    /// has claimed for it yet, and whose release is not [half
    /// done](ReleaseStatus::is_half_done) by an order that it superseded, is `cancelled`
    /// at once, with a step of its trace; otherwise `cancel` is set and the release is
    /// due at once: whoever claims it ends the order when nothing is left half done. Again is no error, also when
    /// it is `cancelled` by then.
    ///
    /// # Errors
    /// `NotFound` outside the scope; `Conflict` when the order is finished, or its
    /// state is `removing`, with a message that says so.
    async fn cancel(&self, scope: &Scope, order: EventId, at: Timestamp) -> Result<Order, Error>;

    /// Takes up to `max` releases of this target that are due at `now` and that
    /// nobody holds. Somebody waits for a release with an unfinished order, so these
    /// come first, whatever else is due; only every [`PATROL`]th release that is taken
    /// is one of the others, if one is due, so that these come to their turn as well. Of
    /// either kind: of the client that was served longest ago on this target, the one
    /// that is due longest. Their leases end at `until`. What is due must be found by
    /// index: the cost may not grow with the number of releases. A lease that ended
    /// without being handed back makes its release due. Of a long journal the newest
    /// 1,000 entries are handed out.
    async fn claim(
        &self,
        target: &str,
        max: usize,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Claimed>, Error>;

    /// Does one advance.
    ///
    /// A state is only written to an unfinished order; to a finished one (it was
    /// superseded meanwhile) everything else of the advance still applies. Each
    /// change of state is told by [`Orders::untold`]; the state that it has already
    /// is no change, only its reason is written.
    ///
    /// A release whose status becomes `Removed` is removed: its revisions and order
    /// stay readable, its name and namespace are free, and it is never due again
    /// (its lease may still be handed back). Unless its newest order is unfinished,
    /// one that came while it was being removed: then the status is written as
    /// `Changing`, because that order goes on with the same release.
    ///
    /// Returns the newest order of the release as it is now, so that the holder
    /// sees that it was superseded (another id) or is to be cancelled.
    ///
    /// # Errors
    /// `Conflict` when the lease is not this one any more (it ended and somebody
    /// else has claimed, or it was handed back), `NotFound` for an order of another
    /// release, `Invalid` for a revision of another number: nothing was done.
    async fn advance(&self, lease: Lease, order: EventId, advance: Advance) -> Result<Order, Error>;

    /// Prolongs a lease. `Conflict` as for `advance`.
    async fn extend(&self, lease: Lease, until: Timestamp) -> Result<(), Error>;

    /// Ends a lease. The release is due again at `due`, or earlier when an order
    /// was accepted or cancelled (then at once), or [`Orders::touch`] was called (then
    /// at its moment), since it was claimed: no wake-up is lost. With `None` it is
    /// due when one of these happens.
    /// `Conflict` as for `advance`.
    async fn hand_back(&self, lease: Lease, due: Option<Timestamp>) -> Result<(), Error>;

    /// Makes a release due at `at`, or earlier if it is due earlier. Nothing for one
    /// that is removed or does not exist.
    async fn touch(&self, release: Uuid, at: Timestamp) -> Result<(), Error>;

    /// Ends all leases of these targets' releases, and makes those that had one or have an
    /// unfinished order due at `at`: called at start, by the only process that works on
    /// these targets. Returns how many are due for it.
    async fn take_over(&self, targets: &[String], at: Timestamp) -> Result<u64, Error>;

    /// When a release of this target becomes due next, or a lease ends next, after
    /// `now`; a moment that is not after it when there is something to claim right now.
    async fn next_due(&self, target: &str, now: Timestamp) -> Result<Option<Timestamp>, Error>;

    /// Changes whenever an order or release has changed on this node or may be due
    /// at another moment, after the commit; claiming alone and prolonging are no
    /// such change. Carries no meaning beyond "look again".
    fn changes(&self) -> watch::Receiver<u64>;

    /// Changes of state that were not told yet, oldest first, at most `max`.
    async fn untold(&self, max: usize) -> Result<Vec<StateChange>, Error>;

    /// Forgets the changes up to and with `seq`: they are told.
    async fn told(&self, seq: i64) -> Result<(), Error>;

    /// One order.
    async fn order(&self, scope: &Scope, id: EventId) -> Result<Option<Order>, Error>;

    /// Orders, newest first (`created_at`, then id), after the one with id `after`,
    /// at most `max`. None after one that does not exist (any more).
    async fn orders(
        &self,
        scope: &Scope,
        filter: &OrderFilter,
        after: Option<EventId>,
        max: usize,
    ) -> Result<Vec<Order>, Error>;

    /// The journal of an order after entry `after`, oldest first, at most `max`;
    /// empty outside the scope.
    async fn journal(
        &self,
        scope: &Scope,
        order: EventId,
        after: u64,
        max: usize,
    ) -> Result<Vec<JournalEntry>, Error>;

    /// One release, also a removed one.
    async fn release(&self, scope: &Scope, id: Uuid) -> Result<Option<Release>, Error>;

    /// Releases by (client, environment, name, id), after the one with id `after`, at most
    /// `max`. None after one that does not exist (any more).
    async fn releases(
        &self,
        scope: &Scope,
        filter: &ReleaseFilter,
        after: Option<Uuid>,
        max: usize,
    ) -> Result<Vec<Release>, Error>;

    /// One revision of a release.
    async fn revision(&self, scope: &Scope, release: Uuid, number: u64) -> Result<Option<Revision>, Error>;

    /// The revisions of a release, newest first, before `before`, at most `max`.
    async fn revisions(
        &self,
        scope: &Scope,
        release: Uuid,
        before: Option<u64>,
        max: usize,
    ) -> Result<Vec<Revision>, Error>;

    /// The resources of revisions that are stored, those of removed releases too, by name,
    /// kind and release, the newest revision first, at most `max`; of one release those of its
    /// newest revision first. What was stored with the
    /// revision is found by its name, and by its release, by index.
    async fn resources(
        &self,
        scope: &Scope,
        filter: &ResourceFilter,
        max: usize,
    ) -> Result<Vec<RevisionResource>, Error>;

    /// How many orders of a trace, within the scope, are unfinished, and how many
    /// ended without what they asked for (`failed`, `rolled_back`).
    async fn trace_orders(&self, scope: &Scope, trace: Uuid) -> Result<TraceOrders, Error>;

    /// 32 random bytes, made at first use and kept for good: the key under which
    /// secrets are hashed, so that a stored hash does not tell the secret.
    async fn hash_key(&self) -> Result<[u8; 32], Error>;

    /// Drops what finished before `before`: orders that are not the newest of a
    /// release that is there, with their journals, once all their changes are told;
    /// removed releases without such orders, with their revisions and the resources of these. Drops of each
    /// release the revisions beyond the newest `keep`, however young, never
    /// those that are ready, applied or of an unfinished order (made, found or to be
    /// brought back by it). At most `limit` orders, releases and revisions each;
    /// returns how many. Changes that nobody was told of for `untold_for`, by the
    /// clock of this machine, are forgotten first.
    async fn sweep_orders(
        &self,
        before: Timestamp,
        keep: u64,
        untold_for: Duration,
        limit: usize,
    ) -> Result<u64, Error>;
}
