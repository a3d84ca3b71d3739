//! Releases without an unfinished order: brought back when they vanished, and
//! their health written down.

use jiff::Timestamp;
use orderwire_store::orders::{Advance, ReleaseStatus};
use orderwire_types::{RawJson, ReleaseState};

use super::carry::NotApplied;
use super::change::{Build, resources_json};
use super::gates::{ASKED, Said};
use super::later;
use super::work::{Flow, Stop, Work};
use crate::content::Content;
use crate::target::{Desired, Error, Health, Resource};

impl Work {
    /// Looks at a release and does what it needs.
    pub(super) async fn supervise(&mut self) -> Result<Flow, Stop> {
        let status = &self.release.status;
        let Some(number) = status.applied else {
            if status.state == ReleaseState::Changing {
                let status = self.untouched("its order did not get as far as its target");
                self.advance(Advance::default().status(status)).await?;
            }
            return Ok(Flow::Due(None));
        };
        if matches!(status.state, ReleaseState::Removed | ReleaseState::Absent) {
            return Ok(Flow::Due(None));
        }
        let content = match self.content(number).await? {
            Ok(content) => content,
            Err(reason) => {
                self.degraded(reason, None).await?;
                return Ok(Flow::Due(None));
            }
        };
        let desired = Desired::of(&self.release, number, &content);
        let observed = match self.shared.observe(&self.release, &desired).await {
            Ok(observed) => observed,
            Err(Error::Unavailable(reason)) => return Ok(self.look_later(&reason)),
            Err(Error::Refused(reason)) => {
                self.degraded(reason, None).await?;
                return Ok(Flow::Due(None));
            }
        };
        let resources = resources_json(&observed.resources, &content.openings);
        if self.release.status.state == ReleaseState::Frozen {
            let gone = matches!(observed.health, Health::Missing(_));
            return self.look_at_frozen(resources, gone).await;
        }
        let again = self.shared.memory.brought_back(self.release.id);
        let health = match self.release.status.handed_over {
            true => observed.health,
            // What runs may be another revision with the same objects, or have a former key.
            false => Health::Missing(format!("revision {number} was not handed over")),
        };
        match health {
            Health::Ready => match self.gates_without_order(number, &content, &observed.resources) {
                Ok(()) => self.healthy(number, &content, resources).await,
                Err(reason) => {
                    let reason = reason.or_else(|| self.release.status.reason.clone());
                    self.degraded(reason.unwrap_or_else(|| ASKED.to_owned()), Some(resources)).await?;
                    Ok(Flow::Due(Some(later(self.shared.now(), self.shared.options.pause.last))))
                }
            },
            Health::Progressing(reason) => {
                self.degraded(reason, Some(resources)).await?;
                // The target says when it is healthy; a release that waits is rare
                // enough to be looked at now and then as well.
                Ok(Flow::Due(Some(later(self.shared.now(), self.shared.options.pause.last))))
            }
            // The target gave up on it. What was brought back by itself is tried again by
            // itself; what an order left so waits for somebody.
            Health::Failed(reason) if again.is_none() => {
                self.degraded(reason, Some(resources)).await?;
                Ok(Flow::Due(None))
            }
            Health::Failed(reason) | Health::Missing(reason) => match again {
                Some(again) if self.shared.now() < again => {
                    self.degraded(reason, Some(resources)).await?;
                    Ok(Flow::Due(Some(again)))
                }
                _ => self.bring_back(number, &content).await,
            },
        }
    }

    /// What the gates say of a release that is healthy: they are asked before one becomes
    /// ready that an order left otherwise, each time it is looked at. One that was ready and
    /// was brought back is not asked again.
    fn gates_without_order(&self, number: u64, content: &Content, resources: &[Resource]) -> Said {
        let (status, id) = (&self.release.status, self.release.id);
        let was_brought_back = self.shared.memory.brought_back(id).is_some();
        if status.ready == Some(number) && (was_brought_back || status.state != ReleaseState::Degraded) {
            return Ok(());
        }
        self.shared.gates(id, (number, content), resources, self.shared.now())
    }

    /// Nothing of it is touched, but what is said of it is true; and where nothing of it
    /// is there any more, its keys are of no use to anybody who may have them.
    async fn look_at_frozen(&mut self, resources: RawJson, gone: bool) -> Result<Flow, Stop> {
        let status = &self.release.status;
        let mut keys_revoked = status.keys_revoked;
        if gone && keys_revoked < status.keys_made {
            match self.revoke_all_keys().await {
                Ok(revoked) => keys_revoked = revoked,
                Err(reason) => return Ok(self.look_later(&reason)),
            }
        }
        let status = ReleaseStatus { resources, keys_revoked, ..self.release.status.clone() };
        if status != self.release.status {
            self.advance(Advance::default().status(status)).await?;
        }
        Ok(Flow::Due(None))
    }

    /// Hands the applied revision over again, with another key: the text of the former
    /// one is gone.
    async fn bring_back(&mut self, number: u64, content: &Content) -> Result<Flow, Stop> {
        let (shared, id) = (self.shared.clone(), self.release.id);
        let failures = shared.memory.failed(id);
        let again = later(shared.now(), shared.options.pause.after(failures));
        shared.memory.bring_back(id, again);
        if self.release.status.handed_over || !self.has_text(content) {
            let status = self.on_its_way(number, content, self.release.status.clone());
            self.advance(Advance::default().status(status)).await?;
        }
        let reason = match self.apply(number, content).await {
            Ok(()) => {
                let status = ReleaseStatus { handed_over: true, ..self.release.status.clone() };
                let detail = Some(format!("revision {number} was gone and was handed over again"));
                let step = self.step("restored", "ok", detail);
                self.advance(Advance::default().status(status).step(step)).await?;
                return self.revoke_after_bringing_back(content, again).await;
            }
            Err(NotApplied::Refused(reason) | NotApplied::Away(reason)) => reason,
            Err(NotApplied::Stop(stop)) => return Err(stop),
        };
        tracing::warn!(release.id = %id, failures, reason, "a release could not be brought back; it is tried again");
        self.degraded(reason, None).await?;
        Ok(Flow::Due(Some(again)))
    }

    /// Whatever becomes of it, only its own key works.
    async fn revoke_after_bringing_back(
        &mut self,
        content: &Content,
        again: Timestamp,
    ) -> Result<Flow, Stop> {
        match self.revoke_former_keys(content).await {
            Ok(keys_revoked) => {
                let status = ReleaseStatus { keys_revoked, ..self.release.status.clone() };
                self.advance(Advance::default().status(status)).await?;
                Ok(Flow::On)
            }
            Err(reason) => {
                tracing::warn!(release.id = %self.release.id, reason,
                    "former keys of a release cannot be revoked now; it is tried again");
                Ok(Flow::Due(Some(again)))
            }
        }
    }

    async fn healthy(&mut self, number: u64, content: &Content, resources: RawJson) -> Result<Flow, Stop> {
        self.shared.memory.forget(self.release.id);
        let Ok(keys_revoked) = self.revoke_former_keys(content).await else {
            return Ok(self.look_later("its former keys cannot be revoked now"));
        };
        let ready = Some(number);
        let status =
            ReleaseStatus { ready, keys_revoked, resources, ..self.status(ReleaseState::Ready, None) };
        if status != self.release.status {
            let became_ready = ready.filter(|_| self.release.status.ready != ready);
            self.advance(Advance { became_ready, ..Advance::default() }.status(status)).await?;
        }
        Ok(Flow::Due(None))
    }

    /// It is not healthy.
    async fn degraded(&mut self, reason: String, resources: Option<RawJson>) -> Result<(), Stop> {
        let mut status = self.status(ReleaseState::Degraded, Some(reason));
        if let Some(resources) = resources {
            status.resources = resources;
        }
        if status != self.release.status {
            self.advance(Advance::default().status(status)).await?;
        }
        Ok(())
    }

    fn look_later(&self, reason: &str) -> Flow {
        let failures = self.shared.memory.failed(self.release.id);
        tracing::warn!(release.id = %self.release.id, failures, reason, "a release cannot be looked at now");
        Flow::Due(Some(later(self.shared.now(), self.shared.options.pause.after(failures))))
    }
}
