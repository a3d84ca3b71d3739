//! Removal: nothing is left behind, and the order says what there was.

use orderwire_store::orders::{Advance, ReleaseStatus};
use orderwire_types::{OrderState, RawJson, ReleaseState};

use super::change::Build;
use super::work::{Flow, Stop, Work};
use crate::target::{Error, Resource};

impl Work {
    /// From here on the order cannot be cancelled any more.
    pub(super) async fn begin_removal(&mut self) -> Result<Flow, Stop> {
        self.advance(Advance::default().state(OrderState::Removing, None)).await?;
        Ok(Flow::On)
    }

    /// `remove`: everything on the target, and every key.
    pub(super) async fn remove(&mut self) -> Result<Flow, Stop> {
        if !self.is_open("remove") {
            // Asked before the state said that it is too late.
            if self.order.as_ref().is_some_and(|order| order.cancel) {
                return self.cancel_removal().await;
            }
            // No order that comes now may take the release for as it was.
            let status = self.status(ReleaseState::Changing, None);
            self.advance(Advance::default().begun("remove").status(status)).await?;
        }
        let removed = self.shared.remove(&self.release).await;
        // Before anything else, and also when something is left: it shall do nothing in the
        // name of its client any more.
        let keys = self.release.status.keys_made - self.release.status.keys_revoked;
        let revoked = self.revoke_all_keys().await;
        let mut removed = match removed {
            Ok(removed) => removed,
            Err(Error::Unavailable(reason)) => return self.try_later("remove", &reason).await,
            Err(Error::Refused(reason)) => return self.removal_failed(&reason).await,
        };
        // What ended by itself, or was removed before the work was interrupted, is as gone.
        for known in self.known_resources() {
            if !removed.contains(&known) {
                removed.push(known);
            }
        }
        let keys_revoked = match revoked {
            Ok(revoked) => revoked,
            Err(reason) => return self.try_later("remove", &reason).await,
        };
        let status = self.emptied(ReleaseState::Removed, None, keys_revoked);
        let what = if removed.is_empty() { "nothing was there".to_owned() } else { removed.join(", ") };
        let detail = format!("{what}; keys revoked: {keys}; nothing is left");
        let advance = Advance { removed, ..Advance::default() };
        let advance = advance.state(OrderState::Removed, None).done("remove").status(status);
        self.advance(advance.step(self.step("removed", "ok", Some(detail)))).await?;
        Ok(Flow::Due(None))
    }

    async fn cancel_removal(&mut self) -> Result<Flow, Stop> {
        let advance = Advance::default()
            .state(OrderState::Cancelled, None)
            .begun("cancel")
            .done("cancel")
            .step(self.step("cancelled", "ok", Some("nothing had been removed".to_owned())));
        self.advance(advance).await?;
        Ok(Flow::Due(Some(self.shared.now())))
    }

    async fn removal_failed(&mut self, reason: &str) -> Result<Flow, Stop> {
        let advance = Advance::default()
            .state(OrderState::Failed, Some(reason.to_owned()))
            .failed("remove", reason)
            .status(self.status(ReleaseState::Degraded, Some(reason.to_owned())))
            .step(self.step("removed", "failed", Some(reason.to_owned())));
        self.advance(advance).await?;
        Ok(Flow::Due(None))
    }

    /// The status of the release when nothing of it is on the target.
    pub(super) fn emptied(
        &self,
        state: ReleaseState,
        reason: Option<String>,
        keys_revoked: u64,
    ) -> ReleaseStatus {
        ReleaseStatus {
            applied: None,
            handed_over: false,
            ready: None,
            resources: no_resources(),
            keys_revoked,
            ..self.status(state, reason)
        }
    }

    /// Revokes every key; how many there are.
    pub(super) async fn revoke_all_keys(&self) -> Result<u64, String> {
        let status = &self.release.status;
        self.shared.revoke_keys(self.release.id, status.keys_revoked + 1..=status.keys_made).await?;
        self.shared.memory.forget(self.release.id);
        Ok(status.keys_made)
    }

    /// As the status of the release says, in the words of a target.
    fn known_resources(&self) -> Vec<String> {
        let resources = serde_json::from_str::<Vec<Resource>>(self.release.status.resources.get());
        let resources = resources.unwrap_or_default();
        resources.iter().map(|resource| format!("{} {}", resource.kind, resource.name)).collect()
    }
}

/// The resources of a release of which nothing is on its target.
fn no_resources() -> RawJson {
    RawJson::parse("[]".to_owned()).expect("an array is JSON")
}
