//! Calls to the outside, each bounded in time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use orderwire_store::orders::Release;

use super::Shared;
use crate::target::{Desired, Error, Grant, Health, Observed, Placement, Target};

impl Shared {
    /// The outcome, or `None` when it took too long.
    pub(super) async fn within<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(self.options.call, call).await.ok()
    }

    pub(super) async fn apply(
        &self,
        release: &Release,
        desired: &Desired,
        grant: &Grant,
    ) -> Result<(), Error> {
        let (target, grace) = self.target(release)?;
        self.memory.drop_gates(release.id);
        self.timely(release, grace, target.apply(&Placement::of(release), desired, grant)).await
    }

    pub(super) async fn observe(&self, release: &Release, desired: &Desired) -> Result<Observed, Error> {
        let (target, _) = self.target(release)?;
        let observed =
            self.timely(release, Duration::ZERO, target.observe(&Placement::of(release), desired)).await;
        let is_healthy = matches!(&observed, Ok(observed) if observed.health == Health::Ready);
        if !is_healthy {
            self.memory.drop_gates(release.id);
        }
        observed
    }

    pub(super) async fn remove(&self, release: &Release) -> Result<Vec<String>, Error> {
        let (target, grace) = self.target(release)?;
        self.memory.drop_gates(release.id);
        self.timely(release, grace, target.remove(&Placement::of(release))).await
    }

    fn target(&self, release: &Release) -> Result<(Arc<dyn Target>, Duration), Error> {
        let target = self.parts.targets.get(&release.target).cloned();
        let target = target.ok_or_else(|| {
            Error::Unavailable(format!("target {} is not configured on this server", release.target))
        })?;
        let grace = self.parts.target_settings.get(&release.target).map_or(Duration::ZERO, |own| own.grace.0);
        Ok((target, grace))
    }

    async fn timely<T>(
        &self,
        release: &Release,
        grace: Duration,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let time = self.options.call.saturating_add(grace);
        tokio::time::timeout(time, call).await.unwrap_or_else(|_| {
            let seconds = time.as_secs_f64();
            Err(Error::Unavailable(format!("target {} did not answer within {seconds} s", release.target)))
        })
    }
}
