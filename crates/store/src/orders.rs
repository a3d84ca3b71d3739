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

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_types::step::Step;
use orderwire_types::{Action, Client, EventId, OrderState, RawJson, ReleaseState, Scope, TraceId};
use tokio::sync::watch;
use uuid::Uuid;

use crate::error::Error;

/// An order as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its id: that of the event that asked for it.
    pub id: EventId,
    /// Its trace.
    pub trace: TraceId,
    /// Whose release.
    pub client: Client,
    /// The name of the release.
    pub name: String,
    /// The product, by its name in the catalogue.
    pub product: String,
    /// The environment, by its canonical name.
    pub environment: String,
    /// The archtype, by its canonical name.
    pub archtype: Option<String>,
    /// The hardware class, by its canonical name.
    pub hardware: Option<String>,
    /// Where on the target.
    pub namespace: String,
    /// The target, by its name in the configuration.
    pub target: String,
    /// What is asked for.
    pub action: Action,
    /// For [`Action::Rollback`]: the revision to bring back.
    pub to_revision: Option<u64>,
    /// The parameters as they were given: an object.
    pub parameters: RawJson,
    /// Who asked: a principal.
    pub principal: String,
    /// Tells two orders of one id apart.
    pub fingerprint: [u8; 16],
    /// Its place among the orders of its release: when the event was accepted.
    pub ordered_at: Timestamp,
    /// The release; `None` for an order that failed before it had one.
    pub release: Option<Uuid>,
    /// How far it is.
    pub state: OrderState,
    /// Why, in plain words, where the state needs a reason.
    pub reason: Option<String>,
    /// The revision that it made or found.
    pub revision: Option<u64>,
    /// Whether somebody asked to cancel it.
    pub cancel: bool,
    /// What a removal removed, as `Kind name`, when it is done.
    pub removed: Vec<String>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When its state changed last.
    pub updated_at: Timestamp,
}

/// An order on its way in. All names are canonical already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// The order, in state `accepted`, or in `failed` with a reason when it is
    /// known to be impossible (an event about an unknown product). `release` is
    /// `None`: the store finds or makes it.
    pub order: Order,
    /// Whether the outcome is recorded as a failed order even when it is refused
    /// (an event was accepted and cannot be refused any more).
    pub record_refused: bool,
    /// Stored with the order: the step `accepted` of its trace.
    pub steps: Vec<Step>,
}

/// What became of an order on its way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It is recorded now. Its state is `accepted`; `superseded` when a newer
    /// order of the release is there already; `failed` when it was so, or was
    /// refused and recorded nevertheless.
    New(Order),
    /// It was recorded before, with the same fingerprint.
    Known(Order),
    /// It was refused and nothing was recorded.
    Refused(Refusal),
}

/// Why an order is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `create` of what is there.
    #[error("release {0} exists already; leave the action out to update it, or choose another name")]
    Exists(String),
    /// `update`, `rollback` or `remove` of what is not there.
    #[error("release {0} does not exist; create it first, or correct its name and environment")]
    Missing(String),
    /// The release is of another product.
    #[error("release {name} is of product {product}; remove it first, or choose another name")]
    OtherProduct {
        /// The release.
        name: String,
        /// Its product.
        product: String,
    },
    /// The release lives in another namespace.
    #[error("release {name} lives in namespace {namespace}; remove it first, or leave the namespace out")]
    OtherNamespace {
        /// The release.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// The namespace belongs to another client.
    #[error("namespace {0} belongs to another client; choose another one")]
    TakenByClient(String),
    /// The namespace belongs to another environment of the same client.
    #[error(
        "namespace {namespace} belongs to environment {environment} of this client; name another one, or put \
         {{environment}} into the namespace template of the target"
    )]
    TakenByEnvironment {
        /// The namespace.
        namespace: String,
        /// Whose it is.
        environment: String,
    },
    /// The revision to bring back does not exist (any more).
    #[error("release {name} has no revision {revision}; see its history")]
    NoRevision {
        /// The release.
        name: String,
        /// What was asked for.
        revision: u64,
    },
    /// Another order with this id and another content is there.
    #[error("another order with this id and another content was accepted before")]
    OtherContent,
}

/// A release as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its id; a release that is created again after its removal has another.
    pub id: Uuid,
    /// Whose.
    pub client: Client,
    /// Its environment.
    pub environment: String,
    /// Its name; with client and environment unique among releases that are there.
    pub name: String,
    /// Its product.
    pub product: String,
    /// Its archtype, by the order that changed it last.
    pub archtype: Option<String>,
    /// Its hardware class, by the order that changed it last.
    pub hardware: Option<String>,
    /// Its target.
    pub target: String,
    /// Its namespace on the target.
    pub namespace: String,
    /// The newest order that was not refused.
    pub order: EventId,
    /// The trace of that order.
    pub trace: TraceId,
    /// How many revisions it has had: the number of the newest one.
    pub revisions: u64,
    /// What the holder of the lease says of it.
    pub status: ReleaseStatus,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its status or order changed last.
    pub updated_at: Timestamp,
}

/// The part of a release that the holder of its lease writes, as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseStatus {
    /// How it is.
    pub state: ReleaseState,
    /// Why, in plain words, where the state needs a reason.
    pub reason: Option<String>,
    /// The revision that was ready last.
    pub ready: Option<u64>,
    /// The revision whose hand-over to the target was begun last, written before it
    /// begins; `None` when nothing is on the target.
    pub applied: Option<u64>,
    /// How many keys were made for it. The id of each follows from the release and
    /// its number, so that none is ever forgotten.
    pub keys_made: u64,
    /// How many of them, from the first on, are revoked.
    pub keys_revoked: u64,
    /// What was observed of its resources last: a JSON array of
    /// `{"kind","name","state","reason"?,"endpoint"?}`.
    pub resources: RawJson,
}

impl ReleaseStatus {
    /// Of a release that was made a moment ago.
    pub fn new() -> Self {
        Self {
            state: ReleaseState::Changing,
            reason: None,
            ready: None,
            applied: None,
            keys_made: 0,
            keys_revoked: 0,
            resources: RawJson::parse("[]".to_owned()).expect("an array is JSON"),
        }
    }
}

impl Default for ReleaseStatus {
    fn default() -> Self {
        Self::new()
    }
}

/// An immutable snapshot of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its number within the release, from 1.
    pub number: u64,
    /// SHA-256 of its content as lower-case hex: the same content, the same hash.
    pub hash: String,
    /// Everything that makes it what it is, as one JSON object: product, version,
    /// parameters, manifests, images, hashes of secrets. Never a secret, never the
    /// trace.
    pub content: RawJson,
    /// The order that made it.
    pub order: EventId,
    /// The trace of that order.
    pub trace: TraceId,
    /// When.
    pub created_at: Timestamp,
    /// When it was ready first.
    pub ready_at: Option<Timestamp>,
}

/// One entry of the journal of an order. Entries are never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its number within the order, from 1; given by the store.
    pub n: u64,
    /// When.
    pub at: Timestamp,
    /// Which step of the work: `plan`, `prepare`, `apply`, `wait`, `settle`,
    /// `restore`, `remove`, `cancel`.
    pub step: String,
    /// `begun`, then `done`, `failed` or `retry`.
    pub outcome: String,
    /// Anything worth knowing, in plain words.
    pub detail: Option<String>,
}

/// Which orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrderFilter {
    /// Of this trace.
    pub trace: Option<Uuid>,
    /// Of this release.
    pub release: Option<Uuid>,
    /// In this state.
    pub state: Option<OrderState>,
    /// Of this product.
    pub product: Option<String>,
    /// Of this environment.
    pub environment: Option<String>,
}

/// Which releases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseFilter {
    /// Of one of these clients.
    pub clients: Option<Vec<Client>>,
    /// Of this name.
    pub name: Option<String>,
    /// Of this environment.
    pub environment: Option<String>,
    /// Of this product.
    pub product: Option<String>,
    /// On this target.
    pub target: Option<String>,
    /// Those that were removed too.
    pub removed: bool,
}

/// The right to work on one release, until it ends or is handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The release.
    pub release: Uuid,
    /// Grows with every claim of the release: what an earlier holder still writes
    /// is refused.
    pub number: u64,
}

/// A release to work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The right to do so.
    pub lease: Lease,
    /// The release.
    pub release: Release,
    /// Its unfinished order; `None` when the release itself is due (something
    /// happened on its target, or the process that ran it was restarted).
    pub order: Option<Order>,
    /// The journal of that order, oldest first.
    pub journal: Vec<JournalEntry>,
}

/// One advance of the work on a release: all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Advance {
    /// When.
    pub at: Timestamp,
    /// A new state of the order, with its reason.
    pub state: Option<(OrderState, Option<String>)>,
    /// The revision that the order has made or found.
    pub revision: Option<u64>,
    /// What a removal removed.
    pub removed: Vec<String>,
    /// A new revision; its number must be `release.revisions + 1`.
    pub new_revision: Option<Revision>,
    /// The revision that became ready now.
    pub became_ready: Option<u64>,
    /// The whole new status of the release.
    pub status: Option<ReleaseStatus>,
    /// Entries of the journal, as (step, outcome, detail); the store numbers them.
    pub journal: Vec<(String, String, Option<String>)>,
    /// Steps of the order's trace.
    pub steps: Vec<Step>,
}

/// A change of an order's state that has to be told to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// Its place among all of them; grows.
    pub seq: i64,
    /// The order as it was then: with this state, reason, revision, `updated_at`.
    pub order: Order,
    /// Which change of the order it is, from 1: together with the order's id the
    /// name of the event that tells it.
    pub n: u64,
}

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
    ///   target where it is (which the recorded order names); `create` of it,
    ///   another product or another namespace is refused. Orders that say how it
    ///   shall be (`apply`, `create`, `update`) set its archtype and hardware where
    ///   they name them;
    /// - a release that is not there is made for `apply` and `create`; its
    ///   namespace on the target then belongs to (client, environment) for as
    ///   long as a release lives in it, and one that belongs to others is refused;
    ///   for other actions it is refused as missing;
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

    /// Asks to cancel an order. One that is `accepted` and whose release nobody has
    /// claimed for it yet is `cancelled` at once, with a step of its trace; otherwise
    /// `cancel` is set and the release is due at once. Again is no error, also when
    /// it is `cancelled` by then.
    ///
    /// # Errors
    /// `NotFound` outside the scope; `Conflict` when the order is finished, or its
    /// state is `removing`, with a message that says so.
    async fn cancel(&self, scope: &Scope, order: EventId, at: Timestamp) -> Result<Order, Error>;

    /// Takes one release that is due at `now` and that nobody holds, and whose
    /// target is one of `targets`: of the client that was served longest ago, the
    /// one that is due longest. Its lease ends at `until`. What is due must be found
    /// by index: the cost may not grow with the number of releases. A lease that
    /// ended without being handed back makes its release due. Of a long journal the
    /// newest 1,000 entries are handed out.
    async fn claim(
        &self,
        targets: &[String],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Claimed>, Error>;

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

    /// Makes every release of these targets due at `at` that has something on its
    /// target, an unfinished order or a lease, and ends all their leases: called at start,
    /// by the only process that works on these targets. Returns how many.
    async fn touch_all(&self, targets: &[String], at: Timestamp) -> Result<u64, Error>;

    /// When a release becomes due next, or a lease ends next, after `now`; a moment
    /// that is not after it when there is something to claim right now.
    async fn next_due(&self, targets: &[String], now: Timestamp) -> Result<Option<Timestamp>, Error>;

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

    /// How many orders of a trace, within the scope, are unfinished, and how many
    /// ended without what they asked for (`failed`, `rolled_back`).
    async fn trace_orders(&self, scope: &Scope, trace: Uuid) -> Result<TraceOrders, Error>;

    /// 32 random bytes, made at first use and kept for good: the key under which
    /// secrets are hashed, so that a stored hash does not tell the secret.
    async fn hash_key(&self) -> Result<[u8; 32], Error>;

    /// Drops what finished before `before`: orders that are not the newest of a
    /// release that is there, with their journals, once all their changes are told;
    /// removed releases without such orders, with their revisions. Drops of each
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

/// What the orders of a trace say of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceOrders {
    /// Unfinished ones.
    pub open: u64,
    /// Those that ended without what they asked for.
    pub failed: u64,
}
