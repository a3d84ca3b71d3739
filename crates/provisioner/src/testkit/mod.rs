//! The conformance suite of targets: every promise of [`crate::target`] as a named
//! case. A target passes all of them; a broken twin (a model that breaks one
//! promise) must fail at least one.

mod cases;
mod kit;
pub mod model;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

pub use cases::cases;

use crate::target::{Manifest, Target};

/// Makes the target that a case works on, and looks at what it really did.
#[async_trait]
pub trait Factory: Send + Sync + 'static {
    /// Opens the target: empty the first time, afterwards as after a restart of
    /// Orderwire. What was opened before is dropped by then.
    async fn open(&self) -> Result<Arc<dyn Target>, String>;

    /// The manifests that cases work with.
    fn sample(&self) -> Sample;

    /// What is really there for a release, found without the target's help. The name
    /// of a thing is another one when the thing was made anew or has changed.
    async fn things(&self, release: Uuid) -> Result<BTreeSet<String>, String>;

    /// Where the port of this name of a release really is, as `host:port`, found without
    /// the target's help; `None` when nothing runs that has it.
    async fn address(&self, release: Uuid, port: &str) -> Result<Option<String>, String>;

    /// Changes something of a release with the `healthy` manifests behind the target's
    /// back, such that it stays healthy.
    async fn disturb(&self, release: Uuid) -> Result<(), String>;

    /// Takes away behind the target's back what makes a release healthy, such that it
    /// does not come back by itself.
    async fn break_down(&self, release: Uuid) -> Result<(), String>;

    /// Whether what was applied ends with Orderwire.
    fn ends_with_orderwire(&self) -> bool;
}

/// Manifests of a kind of target.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Become healthy. Two objects at least, one of them with a port.
    pub healthy: Vec<Manifest>,
    /// Become healthy: an object of `healthy` has changed, another is not there, and a
    /// new one is.
    pub other: Vec<Manifest>,
    /// Stay as they are without ever being healthy.
    pub never_ready: Vec<Manifest>,
    /// Fail for good.
    pub fails: Vec<Manifest>,
    /// Are refused, each for a field.
    pub refused: Vec<Refused>,
    /// How long each of it may take.
    pub patience: Duration,
}

/// Manifests that are refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The manifests.
    pub manifests: Vec<Manifest>,
    /// What a fault has to name: the object and the field.
    pub names: Vec<&'static str>,
}

/// A case of the suite.
pub type Case = orderwire_types::testkit::Case<dyn Factory>;
