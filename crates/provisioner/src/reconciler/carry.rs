//! Bringing a revision onto the target and waiting until it is healthy: the same
//! for the revision of an order and for one that is restored.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use orderwire_store::orders::{Advance, ReleaseStatus};
use orderwire_types::{OrderState, RawJson, ReleaseState};

use super::change::{Build, resources_json};
use super::gates::{ASKED, Said};
use super::later;
use super::work::{Flow, Stop, Work};
use crate::content::Content;
use crate::draft::{DraftError, secrets};
use crate::target::{Desired, Error, Grant, Health, Resource};

/// How often a revision that vanished from its target (with a process that ended,
/// say) is handed over again for one order.
const AGAIN: usize = 3;

/// What is to run.
pub(super) struct Goal {
    /// As the journal names the hand-over: `apply` or `restore`.
    pub(super) step: &'static str,
    /// The revision.
    pub(super) number: u64,
    /// Its content.
    pub(super) content: Arc<Content>,
}

/// Why a hand-over did not succeed.
pub(super) enum NotApplied {
    /// It will not, however often it is tried.
    Refused(String),
    /// It may later.
    Away(String),
    /// The work stops.
    Stop(Stop),
}

impl From<Error> for NotApplied {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(reason) => Self::Refused(reason),
            Error::Unavailable(reason) => Self::Away(reason),
        }
    }
}

impl From<DraftError> for NotApplied {
    fn from(error: DraftError) -> Self {
        match error {
            DraftError::Refused(reason) => Self::Refused(reason),
            DraftError::Unavailable(reason) => Self::Away(reason),
        }
    }
}

impl From<Stop> for NotApplied {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl Work {
    /// The order's own revision, on its way to the target or waited for.
    pub(super) async fn carry_order(&mut self) -> Result<Flow, Stop> {
        let number = self.order.as_ref().and_then(|order| order.revision).unwrap_or_default();
        match self.content(number).await? {
            Ok(content) => self.carry(Goal { step: "apply", number, content }).await,
            Err(reason) => self.fail_without_content("apply", &reason).await,
        }
    }

    /// Hands a revision over where that is not done, and looks how it is.
    pub(super) async fn carry(&mut self, goal: Goal) -> Result<Flow, Stop> {
        if self.outcome(goal.step) != Some("done") {
            match self.hand_over(&goal).await {
                Ok(()) => {}
                Err(NotApplied::Refused(reason)) => return self.failed(&goal, "apply", &reason).await,
                Err(NotApplied::Away(reason)) => return self.try_later(goal.step, &reason).await,
                Err(NotApplied::Stop(stop)) => return Err(stop),
            }
        }
        self.look(&goal).await
    }

    /// Writes down that a revision is on its way, and with which key.
    pub(super) async fn begin(&mut self, goal: &Goal, advance: Advance) -> Result<(), Stop> {
        let status = self.status(ReleaseState::Changing, None);
        let status = self.on_its_way(goal.number, &goal.content, status);
        self.advance(advance.begun(goal.step).status(status)).await
    }

    /// The status before a revision is handed over: until that is done, nobody knows
    /// what runs and with which of the keys.
    pub(super) fn on_its_way(
        &mut self,
        number: u64,
        content: &Content,
        mut status: ReleaseStatus,
    ) -> ReleaseStatus {
        status.applied = Some(number);
        status.handed_over = false;
        if has_key(content) {
            status.keys_made += 1;
            self.unmade = Some(status.keys_made);
        }
        status
    }

    async fn hand_over(&mut self, goal: &Goal) -> Result<(), NotApplied> {
        // One that was begun before and whose key was told to nobody is begun anew.
        if !self.is_open(goal.step) || !self.has_text(&goal.content) {
            self.begin(goal, Advance::default()).await?;
        }
        let began = self.began;
        self.apply(goal.number, &goal.content).await?;
        let status = ReleaseStatus { handed_over: true, ..self.release.status.clone() };
        let advance = Advance::default().done(goal.step).begun("wait").status(status);
        let applying = self.order.as_ref().is_some_and(|order| order.state == OrderState::Applying);
        let advance = if applying { advance.state(OrderState::Waiting, None) } else { advance };
        let detail = Some(format!("revision {}", goal.number));
        self.advance(advance.step(self.step_since(began, "applied", "ok", detail))).await?;
        Ok(())
    }

    /// Whether the text of the newest key is at hand, or can be had.
    pub(super) fn has_text(&self, content: &Content) -> bool {
        let made = self.release.status.keys_made;
        !has_key(content)
            || self.unmade == Some(made)
            || self.shared.memory.key(self.release.id, made).is_some()
    }

    /// Makes the newest key where that is not done, and hands the revision over.
    pub(super) async fn apply(&mut self, number: u64, content: &Content) -> Result<(), NotApplied> {
        let shared = Arc::clone(&self.shared);
        let read = shared.within(secrets(&shared.parts, content)).await;
        let read = read.ok_or_else(|| NotApplied::Away("reading its secrets took too long".to_owned()))?;
        let mut values = vec![("ORDERWIRE_URL".to_owned(), shared.parts.url.clone())];
        if has_key(content) {
            values.push(("ORDERWIRE_API_KEY".to_owned(), self.key(content).await?));
        }
        values.extend(read?);
        shared.apply(&self.release, &Desired::of(&self.release, number, content), &Grant { values }).await?;
        shared.memory.drop_key(self.release.id);
        Ok(())
    }

    async fn key(&mut self, content: &Content) -> Result<String, NotApplied> {
        let (shared, number) = (&self.shared, self.release.status.keys_made);
        if let Some(text) = shared.memory.key(self.release.id, number) {
            return Ok(text);
        }
        // Should this fail, it is not known whether the key exists: the next attempt
        // takes another number.
        self.unmade = None;
        let made = shared.make_key(&self.release, number, &content.access).await;
        let text =
            made.map_err(|reason| NotApplied::Away(format!("its key cannot be made now: {reason}")))?;
        shared.memory.keep_key(self.release.id, number, text.clone());
        Ok(text)
    }

    /// `wait`: how is what was handed over?
    async fn look(&mut self, goal: &Goal) -> Result<Flow, Stop> {
        let desired = Desired::of(&self.release, goal.number, &goal.content);
        let observed = match self.shared.observe(&self.release, &desired).await {
            Ok(observed) => observed,
            Err(Error::Refused(reason)) => return self.failed(goal, "wait", &reason).await,
            Err(Error::Unavailable(reason)) => return self.try_later("wait", &reason).await,
        };
        if self.shared.memory.got_through(self.release.id) && self.outcome("settle") != Some("begun") {
            // While the target was away nobody could see it become healthy.
            self.advance(Advance::default().begun("wait")).await?;
        }
        match observed.health {
            Health::Ready => match self.gates(goal, &observed.resources) {
                Ok(()) => {
                    let resources = resources_json(&observed.resources, &goal.content.openings);
                    self.settle(goal, resources).await
                }
                Err(reason) => self.wait(goal, &reason.unwrap_or_else(|| ASKED.to_owned())).await,
            },
            Health::Failed(reason) => self.failed(goal, "wait", &reason).await,
            Health::Missing(reason) if self.count(goal.step, "done") > AGAIN => {
                let reason = format!("it vanished from its target {AGAIN} times again: {reason}");
                self.failed(goal, "wait", &reason).await
            }
            Health::Missing(_) => {
                self.begin(goal, Advance::default()).await?;
                Ok(Flow::On)
            }
            Health::Progressing(reason) => self.wait(goal, &reason).await,
        }
    }

    /// What its gates say of what is healthy. Once they have let it pass they are not
    /// asked again.
    fn gates(&self, goal: &Goal, resources: &[Resource]) -> Said {
        if self.is_settling() {
            return Ok(());
        }
        let until = self.deadline(&goal.content);
        self.shared.gates(self.release.id, (goal.number, &goal.content), resources, until)
    }

    /// Whether what was handed over last was let pass already.
    fn is_settling(&self) -> bool {
        let mut begun = self.journal.iter().rev().filter(|entry| entry.outcome == "begun");
        let last = begun.find(|entry| ["wait", "settle"].contains(&entry.step.as_str()));
        last.is_some_and(|entry| entry.step == "settle")
    }

    /// Until when a revision has to be healthy that is waited for.
    fn deadline(&self, content: &Content) -> Timestamp {
        later(self.when("wait", "begun").unwrap_or(self.shared.now()), patience(content))
    }

    /// Leaves the slot to others until something happens or the time is up.
    async fn wait(&mut self, goal: &Goal, reason: &str) -> Result<Flow, Stop> {
        let (now, look_again) = (self.shared.now(), self.shared.options.look_again);
        let deadline = self.deadline(&goal.content);
        if now >= deadline {
            let reason = format!("not healthy within {} s: {reason}", patience(&goal.content).as_secs_f64());
            return self.failed(goal, "wait", &reason).await;
        }
        // The reason is for people who wait; what changes faster is not written.
        let waiting = self.order.as_ref().filter(|order| {
            order.state == OrderState::Waiting
                && order.reason.as_deref() != Some(reason)
                && now >= later(order.updated_at, look_again)
        });
        if waiting.is_some() {
            let advance = Advance::default().state(OrderState::Waiting, Some(reason.to_owned()));
            self.advance(advance).await?;
        }
        Ok(Flow::Due(Some(deadline.min(later(now, look_again)))))
    }

    /// `settle`: it is healthy. Former keys are revoked, and the order is done.
    async fn settle(&mut self, goal: &Goal, resources: RawJson) -> Result<Flow, Stop> {
        if !self.is_open("settle") {
            self.advance(Advance::default().done("wait").begun("settle")).await?;
        }
        let keys_revoked = match self.revoke_former_keys(&goal.content).await {
            Ok(revoked) => revoked,
            Err(reason) => return self.try_later("settle", &reason).await,
        };
        let status = ReleaseStatus {
            ready: Some(goal.number),
            keys_revoked,
            resources,
            ..self.status(ReleaseState::Ready, None)
        };
        let since = self.when("wait", "begun").unwrap_or(self.began);
        let detail = format!("revision {}", goal.number);
        let (state, reason, step) = match (goal.step, self.is_cancelling()) {
            ("apply", _) => (OrderState::Ready, None, "ready"),
            (_, false) => (self.restored(), Some(self.what_failed()), "restored"),
            (_, true) => {
                let reason = format!("cancelled; revision {} is back", goal.number);
                (self.restored(), Some(reason), "restored")
            }
        };
        let advance = Advance { became_ready: Some(goal.number), ..Advance::default() };
        let advance = advance.state(state, reason).done("settle").status(status);
        self.advance(advance.step(self.step_since(since, step, "ok", Some(detail)))).await?;
        Ok(Flow::Due(None))
    }

    /// Revokes all keys but the one in use; how many, from the first on, are revoked.
    /// None while it is not known which one is in use.
    pub(super) async fn revoke_former_keys(&self, content: &Content) -> Result<u64, String> {
        let status = &self.release.status;
        let former = match (status.handed_over, has_key(content)) {
            (false, _) => status.keys_revoked,
            (true, true) => status.keys_made.saturating_sub(1),
            (true, false) => status.keys_made,
        };
        self.shared.revoke_keys(self.release.id, status.keys_revoked + 1..=former).await?;
        Ok(former.max(status.keys_revoked))
    }
}

fn patience(content: &Content) -> Duration {
    Duration::from_millis(content.patience_ms)
}

/// Whether a release with this content is given a key.
fn has_key(content: &Content) -> bool {
    !content.access.rights.is_empty()
}
