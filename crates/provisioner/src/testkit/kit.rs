//! What the cases are written with.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use orderwire_types::TraceId;
pub(super) use orderwire_types::testkit::{Failed, Outcome, holds, same};
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::Factory;
use crate::target::{Desired, Error, Grant, Health, Manifest, Observed, Placement, Target};

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(format!("{error:?}"))
    }
}

/// How often is looked where no change is told.
const LOOK: Duration = Duration::from_millis(20);

/// A target that was opened, one release on it, and how to see what is there.
pub(super) struct Kit {
    pub(super) factory: Arc<dyn Factory>,
    pub(super) target: Arc<dyn Target>,
    pub(super) placement: Placement,
}

impl Kit {
    pub(super) async fn open(factory: Arc<dyn Factory>) -> Outcome<Self> {
        let target = factory.open().await?;
        Ok(Self { factory, target, placement: placement("a") })
    }

    /// The same release on the target as after a restart of Orderwire.
    pub(super) async fn reopen(self) -> Outcome<Self> {
        let Self { factory, target, placement } = self;
        drop(target);
        let target = factory.open().await?;
        Ok(Self { factory, target, placement })
    }

    pub(super) fn healthy(&self) -> Desired {
        self.desired(self.factory.sample().healthy)
    }

    pub(super) fn other(&self) -> Desired {
        Desired { revision: 2, ..self.desired(self.factory.sample().other) }
    }

    pub(super) fn desired(&self, manifests: Vec<Manifest>) -> Desired {
        let patience = self.factory.sample().patience;
        Desired { revision: 1, trace: TraceId::from_uuid(Uuid::from_u128(1)), manifests, patience }
    }

    pub(super) async fn apply(&self, desired: &Desired) -> Outcome {
        Ok(self.target.apply(&self.placement, desired, &grant("1")).await?)
    }

    /// Applies and waits until it is healthy.
    pub(super) async fn bring_up(&self, desired: &Desired) -> Outcome {
        self.apply(desired).await?;
        self.until("ready", desired, |observed| observed.health == Health::Ready).await.map(drop)
    }

    pub(super) async fn observe(&self, desired: &Desired) -> Outcome<Observed> {
        Ok(self.target.observe(&self.placement, desired).await?)
    }

    pub(super) async fn things(&self) -> Outcome<BTreeSet<String>> {
        Ok(self.factory.things(self.placement.release).await?)
    }

    /// Looks until it is so, whether changes are told or not.
    pub(super) async fn until(
        &self,
        what: &str,
        desired: &Desired,
        is_so: impl Fn(&Observed) -> bool,
    ) -> Outcome<Observed> {
        let mut changes = self.target.changes();
        let deadline = Instant::now() + desired.patience;
        loop {
            let observed = self.observe(desired).await?;
            if is_so(&observed) {
                return Ok(observed);
            }
            if Instant::now() > deadline {
                return Err(Failed(format!("it never became {what}: {observed:?}")));
            }
            // Whichever comes first; the next look says how it is.
            timeout(LOOK, changes.recv()).await.ok();
        }
    }

    /// Looks only when a change of the release is told, until it is so.
    pub(super) async fn until_told(
        &self,
        what: &str,
        changes: &mut broadcast::Receiver<Uuid>,
        desired: &Desired,
        is_so: impl Fn(&Observed) -> bool,
    ) -> Outcome {
        let deadline = Instant::now() + desired.patience;
        loop {
            let told = timeout_at(deadline, changes.recv()).await;
            let told = told.map_err(|_| Failed(format!("nothing told that it is {what}")))?;
            // One that lags looks at all.
            let is_meant = told.as_ref().map_or(true, |release| *release == self.placement.release);
            if matches!(told, Err(broadcast::error::RecvError::Closed)) {
                return Err(Failed(format!("nothing tells that it is {what} any more")));
            }
            if is_meant && is_so(&self.observe(desired).await?) {
                return Ok(());
            }
        }
    }
}

/// A release of its own, on every call.
pub(super) fn placement(name: &str) -> Placement {
    Placement {
        release: Uuid::new_v4(),
        client: "acme".parse().expect("names in cases are valid"),
        environment: "dev".to_owned(),
        name: name.to_owned(),
        product: "sample".to_owned(),
        namespace: "acme".to_owned(),
    }
}

pub(super) fn grant(value: &str) -> Grant {
    Grant { values: vec![("ORDERWIRE_API_KEY".to_owned(), value.to_owned())] }
}

/// The objects, as a removal names them.
pub(super) fn names(manifests: &[Manifest]) -> BTreeSet<String> {
    manifests.iter().map(|manifest| format!("{} {}", manifest.kind(), manifest.name())).collect()
}
