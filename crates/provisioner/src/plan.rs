//! What an order would do, touching nothing.

use std::time::Duration;

use orderwire_api::wire::OrderPlan;
use orderwire_store::orders::{Order, Refusal, Release, ReleaseFilter, ReleaseStatus};
use orderwire_types::{Action, ReleaseState};
use serde_json::{Value, json};

use crate::diff::diff;
use crate::draft::{Draft, DraftError, draft};
use crate::http::show;
use crate::provisioner::{AcceptError, OrderRequest, Provisioner};
use crate::request::own_scope;
use crate::target::{self, Desired, Placement};

/// How long a target may take to say what it would do.
const TIME_OUT: Duration = Duration::from_secs(30);
/// How many releases are read at a time.
const RELEASES_PAGE: usize = 500;

impl Provisioner {
    /// What an order would create, change and remove, and what policy refuses.
    /// Nothing is recorded and nothing touched.
    ///
    /// # Errors
    /// `Invalid` for a request that is malformed, `Store` when the store or the
    /// target is away.
    pub async fn plan(&self, request: OrderRequest) -> Result<OrderPlan, AcceptError> {
        let resolved = self.resolved(&request).await?;
        if !resolved.faults.is_empty() {
            return Err(AcceptError::Invalid(resolved.faults));
        }
        let (order, release) = (resolved.order, resolved.release);
        let mut plan = OrderPlan {
            client: order.client.to_string(),
            name: order.name.clone(),
            product: order.product.clone(),
            environment: order.environment.clone(),
            namespace: order.namespace.clone(),
            target: order.target.clone(),
            outcome: "refused".to_owned(),
            refused: resolved.policy.into_iter().map(|fault| fault.detail).collect(),
            objects: Vec::new(),
            changes: Vec::new(),
        };
        let refusal = match resolved.refused {
            Some(refusal) => Some(refusal),
            None => self.refusal(&order, release.as_ref()).await?,
        };
        plan.refused.extend(refusal.map(|refusal| refusal.to_string()));
        if !plan.refused.is_empty() {
            return Ok(plan);
        }
        match (order.action, release) {
            (Action::Remove, Some(release)) => self.plan_removal(plan, &order, &release).await,
            (_, release) => self.plan_revision(plan, &order, release).await,
        }
    }

    /// What the store would refuse, found by reading.
    async fn refusal(
        &self,
        order: &Order,
        release: Option<&Release>,
    ) -> Result<Option<Refusal>, AcceptError> {
        let name = order.name.clone();
        Ok(match (order.action, release) {
            (Action::Create, Some(release)) if release.status.state != ReleaseState::Absent => {
                Some(Refusal::Exists(name))
            }
            (Action::Update | Action::Rollback | Action::Remove, None) => Some(Refusal::Missing(name)),
            (_, Some(release)) if release.product != order.product => {
                Some(Refusal::OtherProduct { name, product: release.product.clone() })
            }
            (_, Some(release)) if release.namespace != order.namespace => {
                Some(Refusal::OtherNamespace { name, namespace: release.namespace.clone() })
            }
            (Action::Rollback, Some(release)) => {
                let revision = order.to_revision.unwrap_or_default();
                let found = self.parts.store.revision(&own_scope(), release.id, revision).await?;
                found.is_none().then_some(Refusal::NoRevision { name, revision })
            }
            (_, Some(_)) => None,
            (_, None) => self.namespace_taken(order).await?,
        })
    }

    /// Whose the namespace is, if it is somebody else's.
    async fn namespace_taken(&self, order: &Order) -> Result<Option<Refusal>, AcceptError> {
        let filter = ReleaseFilter { target: Some(order.target.clone()), ..ReleaseFilter::default() };
        let mut after = None;
        loop {
            let page = self.parts.store.releases(&own_scope(), &filter, after, RELEASES_PAGE).await?;
            let namespace = order.namespace.clone();
            for other in page.iter().filter(|other| other.namespace == namespace) {
                if other.client != order.client {
                    return Ok(Some(Refusal::TakenByClient(namespace)));
                }
                if other.environment != order.environment {
                    let environment = other.environment.clone();
                    return Ok(Some(Refusal::TakenByEnvironment { namespace, environment }));
                }
            }
            match page.last() {
                Some(last) if page.len() == RELEASES_PAGE => after = Some(last.id),
                _ => return Ok(None),
            }
        }
    }

    async fn plan_revision(
        &self,
        mut plan: OrderPlan,
        order: &Order,
        release: Option<Release>,
    ) -> Result<OrderPlan, AcceptError> {
        let is_new = release.is_none();
        let release = release.unwrap_or_else(|| provisional(order));
        let Draft { content, hash } = match draft(&self.parts, order, &release).await {
            Ok(draft) => draft,
            Err(DraftError::Refused(reason)) => {
                plan.refused.push(reason);
                return Ok(plan);
            }
            Err(DraftError::Unavailable(reason)) => return Err(unavailable(reason)),
        };
        let present = match release.status.ready {
            Some(number) => self.parts.store.revision(&own_scope(), release.id, number).await?,
            None => None,
        };
        let unchanged = release.status.state == ReleaseState::Ready
            && present.as_ref().is_some_and(|present| present.hash == hash);
        let new = serde_json::to_value(&content).expect("a content is serialisable");
        let old = present.map(|present| serde_json::from_str::<Value>(present.content.get()));
        let old =
            old.transpose().map_err(|error| unavailable(format!("a revision cannot be read: {error}")))?;
        plan.changes = diff(&old.unwrap_or_else(|| json!({})), &new).into_iter().map(show::change).collect();
        let desired = Desired {
            revision: release.revisions + 1,
            trace: order.trace.clone(),
            manifests: content.manifests,
            patience: Duration::from_millis(content.patience_ms),
        };
        let outcome = match (is_new, unchanged) {
            (true, _) => "create",
            (_, true) => "unchanged",
            _ => "update",
        };
        self.plan_objects(plan, &release, &desired, outcome).await
    }

    async fn plan_removal(
        &self,
        plan: OrderPlan,
        order: &Order,
        release: &Release,
    ) -> Result<OrderPlan, AcceptError> {
        let nothing = Desired {
            revision: release.revisions,
            trace: order.trace.clone(),
            manifests: Vec::new(),
            patience: Duration::ZERO,
        };
        self.plan_objects(plan, release, &nothing, "remove").await
    }

    /// What the target would do. What it would refuse makes the whole order refused.
    async fn plan_objects(
        &self,
        mut plan: OrderPlan,
        release: &Release,
        desired: &Desired,
        outcome: &str,
    ) -> Result<OrderPlan, AcceptError> {
        let Some(target) = self.parts.targets.get(&release.target) else {
            plan.refused.push(format!("target {} is not configured here", release.target));
            return Ok(plan);
        };
        let placement = Placement::of(release);
        let planned = match tokio::time::timeout(TIME_OUT, target.plan(&placement, desired)).await {
            Ok(Ok(planned)) => planned,
            Ok(Err(target::Error::Refused(reason))) => {
                plan.refused.push(reason);
                return Ok(plan);
            }
            Ok(Err(target::Error::Unavailable(reason))) => return Err(unavailable(reason)),
            Err(_) => {
                return Err(unavailable(format!(
                    "target {} took longer than {TIME_OUT:?} to say what it would do",
                    release.target
                )));
            }
        };
        plan.objects = planned.into_iter().map(show::object).collect();
        outcome.clone_into(&mut plan.outcome);
        Ok(plan)
    }
}

/// The release that an order would make. Nothing is found on a target under its id.
fn provisional(order: &Order) -> Release {
    Release {
        id: order.id.0,
        client: order.client.clone(),
        environment: order.environment.clone(),
        name: order.name.clone(),
        product: order.product.clone(),
        archtype: order.archtype.clone(),
        hardware: order.hardware.clone(),
        target: order.target.clone(),
        namespace: order.namespace.clone(),
        order: order.id,
        trace: order.trace.clone(),
        revisions: 0,
        status: ReleaseStatus::new(),
        created_at: order.created_at,
        updated_at: order.created_at,
    }
}

fn unavailable(reason: String) -> AcceptError {
    AcceptError::Store(orderwire_store::Error::new(orderwire_store::ErrorKind::Unavailable, reason))
}
