//! Advances: how each is written, and what follows from the answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use orderwire_store::orders::{Advance, JournalEntry, Order, ReleaseStatus};
use orderwire_types::step::{Millis, Step};
use orderwire_types::{OrderState, RawJson, ReleaseState};
use serde::Serialize;

use super::ROLE;
use super::work::{Stop, Work};
use crate::catalogue::Openings;
use crate::content::Content;
use crate::target::Resource;

/// Short forms to build an advance with.
pub(super) trait Build: Sized {
    fn state(self, state: OrderState, reason: Option<String>) -> Self;
    fn begun(self, step: &str) -> Self;
    fn done(self, step: &str) -> Self;
    fn failed(self, step: &str, reason: &str) -> Self;
    fn status(self, status: ReleaseStatus) -> Self;
    fn step(self, step: Step) -> Self;
}

impl Build for Advance {
    fn state(mut self, state: OrderState, reason: Option<String>) -> Self {
        self.state = Some((state, reason));
        self
    }

    fn begun(mut self, step: &str) -> Self {
        self.journal.push((step.to_owned(), "begun".to_owned(), None));
        self
    }

    fn done(mut self, step: &str) -> Self {
        self.journal.push((step.to_owned(), "done".to_owned(), None));
        self
    }

    fn failed(mut self, step: &str, reason: &str) -> Self {
        self.journal.push((step.to_owned(), "failed".to_owned(), Some(reason.to_owned())));
        self
    }

    fn status(mut self, status: ReleaseStatus) -> Self {
        self.status = Some(status);
        self
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

impl Work {
    /// Does an advance in the store and takes it over. Stops the work when the answer
    /// says that it has to go another way.
    pub(super) async fn advance(&mut self, mut advance: Advance) -> Result<(), Stop> {
        advance.at = self.shared.now();
        let id = self.order.as_ref().map_or(self.release.order, |order| order.id);
        let newest = self.shared.parts.store.advance(self.lease, id, advance.clone()).await?;
        let Advance { at, state, new_revision, status, journal, .. } = advance;
        if journal.iter().any(|(_, outcome, _)| outcome == "done") {
            self.shared.memory.got_through(self.release.id);
        }
        for (step, outcome, detail) in journal {
            let n = self.journal.last().map_or(1, |entry| entry.n + 1);
            self.journal.push(JournalEntry { n, at, step, outcome, detail });
        }
        if let Some(revision) = new_revision {
            self.release.revisions = revision.number;
        }
        if let Some(status) = status {
            self.release.status = status;
        }
        if newest.id != id {
            return Err(Stop::Superseded);
        }
        let Some(before) = self.order.replace(newest.clone()) else {
            // The order of a release that is only supervised is finished.
            self.order = None;
            return if newest.state.is_final() { Ok(()) } else { Err(Stop::Superseded) };
        };
        let ours = state.map(|(state, _)| state);
        if newest.state.is_final() {
            if ours != Some(newest.state) {
                return Err(Stop::Superseded);
            }
            self.shared.memory.forget(self.release.id);
            metrics::counter!("orderwire_orders_finished_total", "state" => newest.state.as_str())
                .increment(1);
        }
        if newest.state != before.state {
            log(&newest);
        }
        let answers_cancel = matches!(newest.state, OrderState::RollingBack | OrderState::Removing);
        if newest.cancel && !newest.state.is_final() && !answers_cancel {
            return Err(Stop::Cancelled);
        }
        Ok(())
    }

    /// A step of the trace that ends now and began with the step in hand.
    pub(super) fn step(&self, name: &'static str, outcome: &'static str, detail: Option<String>) -> Step {
        self.step_since(self.began, name, outcome, detail)
    }

    /// A step of the trace that ends now.
    pub(super) fn step_since(
        &self,
        began: Timestamp,
        name: &'static str,
        outcome: &'static str,
        detail: Option<String>,
    ) -> Step {
        let at = self.shared.now();
        let duration = Millis::between(began, at);
        #[expect(clippy::cast_precision_loss, reason = "a duration below 285 years is exact")]
        metrics::histogram!("orderwire_order_step_seconds", "step" => name, "outcome" => outcome)
            .record(duration.0 as f64 / 1e6);
        Step {
            outcome: outcome.to_owned(),
            event_id: Some(self.order.as_ref().map_or(self.release.order, |order| order.id).0),
            duration_ms: Some(duration),
            detail,
            ..Step::ok(at, ROLE, name)
        }
    }

    /// The status with another state.
    pub(super) fn status(&self, state: ReleaseState, reason: Option<String>) -> ReleaseStatus {
        ReleaseStatus { state, reason, ..self.release.status.clone() }
    }

    /// The status of a release that an order left without having touched it: as it
    /// was; a new one is absent.
    pub(super) fn untouched(&self, reason: &str) -> ReleaseStatus {
        match self.release.status {
            ReleaseStatus { state: ReleaseState::Changing, applied: None, .. } => {
                self.status(ReleaseState::Absent, Some(reason.to_owned()))
            }
            ref status => status.clone(),
        }
    }

    /// Whether the journal says that this step was begun and has not ended.
    pub(super) fn is_open(&self, step: &str) -> bool {
        self.outcome(step) == Some("begun")
    }

    /// What the journal says of this step last; that it was tried again is no outcome.
    pub(super) fn outcome(&self, step: &str) -> Option<&str> {
        let mut entries = self.journal.iter().rev();
        entries
            .find(|entry| entry.step == step && entry.outcome != "retry")
            .map(|entry| entry.outcome.as_str())
    }

    /// How often the journal says this.
    pub(super) fn count(&self, step: &str, outcome: &str) -> usize {
        self.journal.iter().filter(|entry| entry.step == step && entry.outcome == outcome).count()
    }

    /// When the journal says this last.
    pub(super) fn when(&self, step: &str, outcome: &str) -> Option<Timestamp> {
        let mut entries = self.journal.iter().rev();
        entries.find(|entry| entry.step == step && entry.outcome == outcome).map(|entry| entry.at)
    }

    /// Whether the order is being cancelled, as the journal says.
    pub(super) fn is_cancelling(&self) -> bool {
        self.count("cancel", "begun") > 0
    }

    /// The content of a revision; the reason when it cannot be read.
    pub(super) async fn content(&mut self, number: u64) -> Result<Result<Arc<Content>, String>, Stop> {
        if let Some((loaded, content)) = &self.loaded
            && *loaded == number
        {
            return Ok(Ok(Arc::clone(content)));
        }
        let store = &self.shared.parts.store;
        let Some(revision) = store.revision(&self.shared.scope, self.release.id, number).await? else {
            return Ok(Err(format!("revision {number} does not exist any more")));
        };
        match serde_json::from_str::<Content>(revision.content.get()) {
            Ok(content) => {
                let content = Arc::new(content);
                self.loaded = Some((number, Arc::clone(&content)));
                Ok(Ok(content))
            }
            Err(error) => Ok(Err(format!("revision {number} cannot be read: {error}"))),
        }
    }
}

/// Resources as a status holds them: of their ports only those that are openings, under
/// the names of these and as URLs.
pub(super) fn resources_json(resources: &[Resource], openings: &Openings) -> RawJson {
    #[derive(Serialize)]
    struct Stored<'r> {
        #[serde(flatten)]
        resource: &'r Resource,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        openings: BTreeMap<&'r str, String>,
    }
    let mut stored = Vec::with_capacity(resources.len());
    for resource in resources {
        let openings = openings.iter().filter_map(|(name, opening)| {
            let address = resource.ports.get(opening.port.as_str())?;
            Some((name.as_str(), opening.url(address)))
        });
        stored.push(Stored { resource, openings: openings.collect() });
    }
    RawJson::of(&stored).expect("resources are serialisable")
}

fn log(order: &Order) {
    tracing::info!(
        order.id = %order.id,
        trace_id = %order.trace,
        client = order.client.as_str(),
        release = order.name,
        environment = order.environment,
        state = order.state.as_str(),
        reason = order.reason,
        "an order changed its state"
    );
}
