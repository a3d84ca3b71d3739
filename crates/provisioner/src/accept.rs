//! The one way in: what is asked becomes a recorded order.

use orderwire_store::orders::{Acceptance, NewOrder, Order, Refusal, Release};
use orderwire_types::step::Step;
use orderwire_types::{Action, Fault, OrderState};

use crate::provisioner::{AcceptError, OrderRequest, Provisioner};
use crate::request::{Resolved, failed, fingerprint, own_scope, reason, resolve};

/// How many revisions are looked at, at a time, for one that was ready.
const REVISIONS_PAGE: usize = 100;

impl Provisioner {
    /// Records an order, once per id: idempotent. What returns is durable.
    ///
    /// # Errors
    /// See [`AcceptError`]; for an event only `Store`.
    pub async fn accept(&self, request: OrderRequest) -> Result<Acceptance, AcceptError> {
        self.accept_with(request, Vec::new()).await
    }

    /// The same for a request in which faults were found before.
    pub(crate) async fn accept_with(
        &self,
        request: OrderRequest,
        mut faults: Vec<Fault>,
    ) -> Result<Acceptance, AcceptError> {
        // First, because what was accepted stays so, whatever has become of the
        // catalogue and of the release since.
        if let Some(known) = self.parts.store.order(&own_scope(), request.id).await? {
            return match known.fingerprint == fingerprint(&request) {
                true => Ok(Acceptance::Known(known)),
                false => refuse(&request, Refusal::OtherContent),
            };
        }
        let resolved = self.resolved(&request).await?;
        faults.extend(resolved.faults);
        faults.extend(resolved.policy);
        if !faults.is_empty() {
            return match request.is_event {
                true => self.record(failed(resolved.order, &reason(&faults)), true).await,
                false => Err(AcceptError::Invalid(faults)),
            };
        }
        let outcome = match (resolved.refused, request.is_event) {
            (None, _) => self.record(resolved.order, request.is_event).await?,
            (Some(refusal), true) => self.record(failed(resolved.order, &refusal.to_string()), true).await?,
            (Some(refusal), false) => Acceptance::Refused(refusal),
        };
        match outcome {
            Acceptance::Refused(refusal) => refuse(&request, refusal),
            recorded => Ok(recorded),
        }
    }

    /// A request resolved, also the revision of a roll-back that names none.
    pub(crate) async fn resolved(&self, request: &OrderRequest) -> Result<Resolved, AcceptError> {
        let mut resolved = resolve(&self.parts, request).await?;
        if let (Action::Rollback, None, Some(release)) =
            (request.action, request.to_revision, &resolved.release)
        {
            resolved.order.to_revision = self.ready_before(release).await?;
            if resolved.order.to_revision.is_none() {
                let detail = format!(
                    "release {} has no earlier revision that was ready; see its history",
                    release.name
                );
                resolved.faults.push(Fault::invalid("/revision", detail));
            }
        }
        Ok(resolved)
    }

    /// The newest revision before the present one that was ready.
    async fn ready_before(&self, release: &Release) -> Result<Option<u64>, AcceptError> {
        let mut before = release.status.ready;
        loop {
            let page = self.parts.store.revisions(&own_scope(), release.id, before, REVISIONS_PAGE).await?;
            if let Some(ready) = page.iter().find(|revision| revision.ready_at.is_some()) {
                return Ok(Some(ready.number));
            }
            match page.last() {
                Some(last) if page.len() == REVISIONS_PAGE => before = Some(last.number),
                _ => return Ok(None),
            }
        }
    }

    async fn record(&self, order: Order, record_refused: bool) -> Result<Acceptance, AcceptError> {
        let steps = vec![accepted(&order)];
        Ok(self.parts.store.accept(NewOrder { order, record_refused, steps }).await?)
    }
}

fn refuse(request: &OrderRequest, refusal: Refusal) -> Result<Acceptance, AcceptError> {
    match request.is_event {
        true => Ok(Acceptance::Refused(refusal)),
        false => Err(AcceptError::Refused(refusal)),
    }
}

/// The step of the trace that says what became of the request.
fn accepted(order: &Order) -> Step {
    let about = format!(
        "{} of release {} in {}, product {}",
        order.action,
        quoted(&order.name),
        quoted(&order.environment),
        quoted(&order.product)
    );
    let (outcome, detail) = match (order.state, &order.reason) {
        (OrderState::Failed, Some(reason)) => ("failed", format!("{about}: {reason}")),
        _ => ("ok", about),
    };
    Step {
        outcome: outcome.to_owned(),
        event_id: Some(order.id.0),
        detail: Some(detail),
        ..Step::ok(order.created_at, "provisioner", "accepted")
    }
}

/// A name as it is; what is none in quotes.
fn quoted(name: &str) -> String {
    match name.parse::<orderwire_types::Label>() {
        Ok(_) => name.to_owned(),
        Err(_) => format!("{name:?}"),
    }
}
