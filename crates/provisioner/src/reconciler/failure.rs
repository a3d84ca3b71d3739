//! When an order does not succeed, is cancelled, or has to wait for what is away.

use orderwire_store::orders::Advance;
use orderwire_types::{OrderState, ReleaseState};

use super::carry::Goal;
use super::change::Build;
use super::later;
use super::work::{Flow, Stop, Work};
use crate::catalogue::OnFailure;
use crate::target::Error;

impl Work {
    /// The order failed before it touched anything. What another one left half done
    /// cannot stay: the last ready revision is restored, whatever the product says of
    /// revisions that fail.
    pub(super) async fn fail_untouched(&mut self, step: &'static str, reason: &str) -> Result<Flow, Stop> {
        let name = if step == "plan" { "planned" } else { "prepared" };
        let step_failed = self.step(name, "failed", Some(reason.to_owned()));
        let advance = Advance::default().failed(step, reason).step(step_failed);
        let reason_told = Some(reason.to_owned());
        if self.release.status.is_half_done() {
            self.advance(advance.state(OrderState::RollingBack, reason_told)).await?;
            return Ok(Flow::On);
        }
        let advance = advance.state(OrderState::Failed, reason_told).status(self.untouched(reason));
        self.advance(advance).await?;
        Ok(Flow::Due(Some(self.shared.now())))
    }

    /// A revision could not be handed over, or did not become healthy: the product
    /// says what happens then.
    pub(super) async fn failed(&mut self, goal: &Goal, stage: &str, reason: &str) -> Result<Flow, Stop> {
        if goal.step == "restore" {
            return self.restore_failed(goal.number, reason).await;
        }
        let name = if stage == "apply" { "applied" } else { "ready" };
        let since = self.when("wait", "begun").filter(|_| stage == "wait").unwrap_or(self.began);
        let step = self.step_since(since, name, "failed", Some(reason.to_owned()));
        let advance = Advance::default().failed(stage, reason).step(step);
        let reason = Some(reason.to_owned());
        let (advance, flow) = match goal.content.on_failure {
            OnFailure::Rollback => (advance.state(OrderState::RollingBack, reason), Flow::On),
            OnFailure::Freeze => {
                let status = self.status(ReleaseState::Frozen, reason.clone());
                // Once more, to write down what is left there.
                let now = self.shared.now();
                (advance.state(OrderState::Failed, reason).status(status), Flow::Due(Some(now)))
            }
            OnFailure::Keep => {
                let status = self.status(ReleaseState::Degraded, reason.clone());
                let now = self.shared.now();
                (advance.state(OrderState::Failed, reason).status(status), Flow::Due(Some(now)))
            }
        };
        self.advance(advance).await?;
        Ok(flow)
    }

    /// The stored revision is gone, so that its product's policy is not known.
    pub(super) async fn fail_without_content(&mut self, stage: &str, reason: &str) -> Result<Flow, Stop> {
        let advance = Advance::default()
            .state(OrderState::Failed, Some(reason.to_owned()))
            .failed(stage, reason)
            .status(self.status(ReleaseState::Degraded, Some(reason.to_owned())))
            .step(self.step("applied", "failed", Some(reason.to_owned())));
        self.advance(advance).await?;
        Ok(Flow::Due(None))
    }

    /// Somebody asked to cancel.
    pub(super) async fn cancel(&mut self) -> Result<Flow, Stop> {
        if self.has_begun() || self.release.status.is_half_done() {
            let advance = Advance::default().begun("cancel");
            self.advance(advance.state(OrderState::RollingBack, Some("cancelled".to_owned()))).await?;
            return Ok(Flow::On);
        }
        let advance = Advance::default()
            .state(OrderState::Cancelled, None)
            .begun("cancel")
            .done("cancel")
            .status(self.untouched("its order was cancelled"))
            .step(self.step("cancelled", "ok", Some("nothing had been touched".to_owned())));
        self.advance(advance).await?;
        Ok(Flow::Due(Some(self.shared.now())))
    }

    /// Brings the last ready revision back, or clears the target when there is none.
    pub(super) async fn restore(&mut self) -> Result<Flow, Stop> {
        let Some(number) = self.release.status.ready else { return self.clear().await };
        match self.content(number).await? {
            Ok(content) => self.carry(Goal { step: "restore", number, content }).await,
            Err(reason) => self.restore_failed(number, &reason).await,
        }
    }

    async fn restore_failed(&mut self, number: u64, reason: &str) -> Result<Flow, Stop> {
        let both = format!("{}; bringing back revision {number} failed too: {reason}", self.what_failed());
        self.give_up(both, reason).await
    }

    async fn give_up(&mut self, both: String, reason: &str) -> Result<Flow, Stop> {
        let advance = Advance::default()
            .failed("restore", reason)
            .status(self.status(ReleaseState::Degraded, Some(both.clone())))
            .step(self.step("restored", "failed", Some(reason.to_owned())))
            .state(OrderState::Failed, Some(both));
        self.advance(advance).await?;
        Ok(Flow::Due(Some(self.shared.now())))
    }

    /// There is nothing to bring back: nothing stays.
    async fn clear(&mut self) -> Result<Flow, Stop> {
        if !self.is_open("restore") {
            self.advance(Advance::default().begun("restore")).await?;
        }
        let removed = match self.shared.remove(&self.release).await {
            Ok(removed) => removed,
            Err(Error::Unavailable(reason)) => return self.try_later("restore", &reason).await,
            Err(Error::Refused(reason)) => {
                let both = format!("{}; removing what is there failed too: {reason}", self.what_failed());
                return self.give_up(both, &reason).await;
            }
        };
        let keys_revoked = match self.revoke_all_keys().await {
            Ok(revoked) => revoked,
            Err(reason) => return self.try_later("restore", &reason).await,
        };
        let state = self.restored();
        let failed = self.what_failed();
        let reason = format!("{failed}; there was no earlier revision, so everything was removed");
        let status = self.emptied(ReleaseState::Absent, Some(reason.clone()), keys_revoked);
        let detail = (!removed.is_empty()).then(|| removed.join(", "));
        let advance = Advance::default().state(state, Some(reason)).done("restore").status(status);
        self.advance(advance.step(self.step("removed", "ok", detail))).await?;
        Ok(Flow::Due(None))
    }

    /// How the order ends when what was before is back.
    pub(super) fn restored(&self) -> OrderState {
        match (self.is_cancelling(), self.has_begun()) {
            (true, _) => OrderState::Cancelled,
            (false, true) => OrderState::RolledBack,
            // What was rolled back is another order's.
            (false, false) => OrderState::Failed,
        }
    }

    /// Whether the order began to hand its revision over.
    fn has_begun(&self) -> bool {
        self.count("apply", "begun") > 0
    }

    /// What made the order roll back.
    pub(super) fn what_failed(&self) -> String {
        let failed = self.journal.iter().rev().find(|entry| entry.outcome == "failed");
        match failed.and_then(|entry| entry.detail.clone()) {
            Some(reason) if !self.is_cancelling() => reason,
            _ => "cancelled".to_owned(),
        }
    }

    /// Something is away: the order waits and says so. There is no bound: it goes on
    /// when what is away is back. The journal is only written at every doubling.
    pub(super) async fn try_later(&mut self, step: &'static str, reason: &str) -> Result<Flow, Stop> {
        let failures = self.shared.memory.failed(self.release.id);
        let pause = self.shared.options.pause.after(failures);
        tracing::warn!(release.id = %self.release.id, step, failures, reason, "a step has to be tried again");
        if let Some(order) = self.order.as_ref().filter(|_| failures.is_power_of_two()) {
            let said = match order.state {
                OrderState::RollingBack => format!("{}; waiting: {reason}", self.what_failed()),
                _ => format!("waiting: {reason}"),
            };
            let mut advance = Advance::default().state(order.state, Some(said));
            advance.journal.push((step.to_owned(), "retry".to_owned(), Some(reason.to_owned())));
            let advance = advance.step(self.step(trace_name(step), "retry", Some(reason.to_owned())));
            self.advance(advance).await?;
        }
        Ok(Flow::Due(Some(later(self.shared.now(), pause))))
    }
}

/// What a step of the journal is called in a trace.
fn trace_name(step: &str) -> &'static str {
    match step {
        "plan" => "planned",
        "prepare" => "prepared",
        "apply" => "applied",
        "restore" => "restored",
        "remove" => "removed",
        _ => "ready",
    }
}
