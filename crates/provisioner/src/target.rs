//! The contract of a target: where releases run.
//!
//! What is written here is all that the reconciler counts on and all that a
//! target must keep. The conformance suite (feature `testkit`) checks it, and
//! twins that each break one promise check the suite.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orderwire_store::orders::Release;
use orderwire_types::{Client, TraceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::content::Content;

/// Whose release, and where on the target it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The release: everything that the target makes for it is found by this id.
    pub release: Uuid,
    /// Whose.
    pub client: Client,
    /// Its environment.
    pub environment: String,
    /// Its name.
    pub name: String,
    /// Its product.
    pub product: String,
    /// Where on the target.
    pub namespace: String,
}

impl Placement {
    /// Where a release is.
    pub(crate) fn of(release: &Release) -> Self {
        Self {
            release: release.id,
            client: release.client.clone(),
            environment: release.environment.clone(),
            name: release.name.clone(),
            product: release.product.clone(),
            namespace: release.namespace.clone(),
        }
    }
}

/// One object of a revision: `apiVersion`, `kind`, `metadata.name` and whatever
/// the kind needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Manifest(pub Value);

impl Manifest {
    /// Its `kind`; empty when it has none.
    pub fn kind(&self) -> &str {
        self.0["kind"].as_str().unwrap_or_default()
    }

    /// Its `metadata.name`; empty when it has none.
    pub fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap_or_default()
    }
}

/// What is to run: the part of a revision that a target needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The number of the revision.
    pub revision: u64,
    /// The trace on everything that is made or changed now. Not part of the
    /// content: another trace alone changes nothing.
    pub trace: TraceId,
    /// The objects, in the order of the templates. Checked: every kind is one that
    /// the product declares.
    pub manifests: Vec<Manifest>,
    /// How long it may take until all of it is healthy.
    pub patience: Duration,
}

impl Desired {
    /// What is to run of this revision of a release.
    pub(crate) fn of(release: &Release, revision: u64, content: &Content) -> Self {
        Self {
            revision,
            trace: release.trace.clone(),
            manifests: content.manifests.clone(),
            patience: Duration::from_millis(content.patience_ms),
        }
    }
}

/// What a release is given to work with; secret, so never logged nor stored as it
/// is.
#[derive(Clone)]
pub struct Grant {
    /// Named values for the release's environment: `ORDERWIRE_URL` and
    /// `ORDERWIRE_API_KEY`, and the secrets that its product declares.
    pub values: Vec<(String, String)>,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.values.iter().map(|(name, _)| name)).finish()
    }
}

/// What happens to one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It is not there and will be.
    Create,
    /// It is there and will differ.
    Change,
    /// It is there as it will be.
    Keep,
    /// It is there and will not be.
    Remove,
}

/// One object of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What happens to it.
    pub effect: Effect,
    /// What differs, for `change`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Where, as an RFC 6901 pointer.
    pub field: String,
    /// What is there; absent when nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What will be there; absent when nothing will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

/// How a release is on its target.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// All in all.
    pub health: Health,
    /// One by one.
    pub resources: Vec<Resource>,
}

/// How healthy something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing of it is there, or not all of it: it has to be applied (again).
    Missing(String),
    /// It is there and not healthy yet; it may become so by itself. The reason is in
    /// plain words, for people who wait.
    Progressing(String),
    /// All of it is healthy.
    Ready,
    /// It will not become healthy by itself: it exited too often, its image does not
    /// exist. In plain words.
    Failed(String),
}

/// One thing of a release on its target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// `ready`, `progressing`, `failed` or `missing`.
    pub state: String,
    /// Why, where it is not `ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where it answers, as a URL, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Where its ports answer, by their names: each as `host:port`. All that it has while
    /// it runs, none while it does not. Not shown as they are: most are private.
    #[serde(skip)]
    pub ports: BTreeMap<String, String>,
}

/// Why a target could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It will not work however often it is tried: a manifest is wrong, the target
    /// refuses it. One clear sentence.
    #[error("{0}")]
    Refused(String),
    /// It may work later: the target is away or busy. One clear sentence.
    #[error("{0}")]
    Unavailable(String),
}

/// A place where releases run.
///
/// Calls for one release come one at a time; calls for different releases may
/// come at once. A call may be dropped at any await, or the whole process killed:
/// the next call for that release must cope with whatever was half done.
#[async_trait]
pub trait Target: Send + Sync + 'static {
    /// Its kind, as the configuration and products name it: `process`.
    fn kind(&self) -> &'static str;

    /// Checks manifests without touching anything: that it knows every kind and that
    /// each has the fields it needs. Each fault names the object and the field.
    fn check(&self, manifests: &[Manifest]) -> Vec<String>;

    /// The names of the ports at which an object may be reached: by these names
    /// openings mean them, and [`Resource::ports`] says where they are. Of an object that
    /// `check` finds no fault in.
    fn ports(&self, manifest: &Manifest) -> Vec<String>;

    /// What `apply` would do now; [`Error::Refused`] when it would refuse it. Touches
    /// nothing.
    async fn plan(&self, placement: &Placement, desired: &Desired) -> Result<Vec<Planned>, Error>;

    /// Makes the target hold exactly this revision: what is missing is made, what
    /// differs is changed, what the revision no longer holds is removed. Returns
    /// when everything is handed over, not when it is healthy: [`Target::observe`]
    /// says that. Idempotent: what is as desired already, under the same grant, is
    /// not touched. What has failed is not as desired: it may be made anew.
    ///
    /// After it returned `Ok`, nothing of an earlier revision runs or will start.
    async fn apply(&self, placement: &Placement, desired: &Desired, grant: &Grant) -> Result<(), Error>;

    /// How the release is now, compared with what is desired. Cheap and without
    /// effect. It answers for the revision that was applied last: any other number is
    /// `Missing`, also one with the same objects, until it was applied. What was applied by a process that has ended counts as it is now: a
    /// target whose things end with Orderwire says `Missing` after a restart.
    async fn observe(&self, placement: &Placement, desired: &Desired) -> Result<Observed, Error>;

    /// Removes everything of the release, also what an apply that was cut short has
    /// left, and what Orderwire does not remember but the target shows. Idempotent.
    /// Returns what was removed, as `Kind name`, after making sure that nothing is
    /// left.
    async fn remove(&self, placement: &Placement) -> Result<Vec<String>, Error>;

    /// What on the target differs from what is desired, by object and field; empty
    /// when nothing does. Touches nothing.
    async fn drift(&self, placement: &Placement, desired: &Desired) -> Result<Vec<Planned>, Error>;

    /// Tells the id of a release whenever what `observe` says of it may have changed.
    /// A receiver that lags looks at all its releases.
    fn changes(&self) -> broadcast::Receiver<Uuid>;

    /// Stops what ends with Orderwire, in order and bounded in time; nothing is
    /// removed. Called at the end of a drain, and when another server may work on this target by
    /// now; what is handed over afterwards runs again.
    async fn stop(&self);
}

/// The targets of a server, by their names in the configuration.
pub type Targets = BTreeMap<String, Arc<dyn Target>>;
