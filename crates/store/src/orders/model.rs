//! What the store of orders takes in and hands out.

use jiff::Timestamp;
use orderwire_types::step::Step;
use orderwire_types::{Action, Client, EventId, OrderState, RawJson, ReleaseState, TraceId};
use uuid::Uuid;

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
    /// Its place among the orders of its release: when the event was accepted, or
    /// later, see [`Orders::accept`](super::Orders::accept).
    pub ordered_at: Timestamp,
    /// How many rules in a row led to it; its events carry the number on.
    pub depth: u8,
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
    /// known to be impossible (an event about an unknown product). With a
    /// `release` it is about that one and refused as `Missing` when it is not there by
    /// this name; without, the store finds or makes it.
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
    /// Whether that hand-over came to its end. Only then it is known that `applied`
    /// is what runs, and that the newest key, if any, is the one that it works with.
    pub handed_over: bool,
    /// How many keys were made for it. The id of each follows from the release and
    /// its number, so that none is ever forgotten.
    pub keys_made: u64,
    /// How many of them, from the first on, are revoked.
    pub keys_revoked: u64,
    /// What was observed of its resources last: a JSON array of
    /// `{"kind","name","state","reason"?,"endpoint"?,"openings"?}`.
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
            handed_over: false,
            keys_made: 0,
            keys_revoked: 0,
            resources: RawJson::parse("[]".to_owned()).expect("an array is JSON"),
        }
    }
}

impl ReleaseStatus {
    /// Whether another revision than the one that was ready last is on its target, whole
    /// or in part, and the work on it did not come to an end. When no order goes on
    /// with it, the ready one has to be restored.
    pub fn is_half_done(&self) -> bool {
        self.state == ReleaseState::Changing && self.applied != self.ready
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

/// What an object of a release is called on its target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceName {
    /// Its kind, such as `Process`.
    pub kind: String,
    /// Its name within its release and kind.
    pub name: String,
}

impl ResourceName {
    /// The most bytes of a kind and a name together by which a resource is found: they are keys
    /// of an index, which have a limit.
    pub const BYTES_MAX: usize = 512;

    /// Whether the resource is stored with its revision, to be found by its name: not without a
    /// kind or name, nor when they are too long.
    #[must_use]
    pub fn is_findable(&self) -> bool {
        let Self { kind, name } = self;
        !kind.is_empty() && !name.is_empty() && kind.len() + name.len() <= Self::BYTES_MAX
    }
}

/// A resource of a revision that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionResource {
    /// What it is called.
    pub resource: ResourceName,
    /// Whose release.
    pub client: Client,
    /// The release.
    pub release: Uuid,
    /// The revision.
    pub revision: u64,
}

/// Which resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceFilter {
    /// Of this release.
    pub release: Option<Uuid>,
    /// Of this revision of it.
    pub revision: Option<u64>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Of this name.
    pub name: Option<String>,
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
    /// The objects of the new revision.
    pub resources: Vec<ResourceName>,
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

/// What the orders of a trace say of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceOrders {
    /// Unfinished ones.
    pub open: u64,
    /// Those that ended without what they asked for.
    pub failed: u64,
}
