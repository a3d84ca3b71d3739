//! What is stored, as it is shown.

use std::collections::BTreeMap;

use orderwire_api::Problem;
use orderwire_api::wire::{
    FieldChangeInfo, ObjectChange, OpeningInfo, OrderInfo, OrderStep, ReleaseInfo, ResourceInfo, RevisionInfo,
};
use orderwire_store::orders::{JournalEntry, Order, Release, Revision};
use orderwire_types::RawJson;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::target::{Effect, FieldChange, Planned};

pub(super) fn order(order: Order) -> OrderInfo {
    OrderInfo {
        order_id: order.id.to_string(),
        trace_id: order.trace.to_string(),
        client: order.client.to_string(),
        name: order.name,
        product: order.product,
        namespace: order.namespace,
        environment: order.environment,
        archtype: order.archtype,
        hardware: order.hardware,
        target: order.target,
        action: order.action.to_string(),
        state: order.state.to_string(),
        revision: order.revision,
        reason: order.reason,
        release_id: order.release.map(|id| id.to_string()),
        parameters: raw(order.parameters),
        cancel_requested: order.cancel,
        removed: order.removed,
        created_at: order.created_at.to_string(),
        updated_at: order.updated_at.to_string(),
    }
}

pub(super) fn step(entry: JournalEntry) -> OrderStep {
    OrderStep {
        n: entry.n,
        at: entry.at.to_string(),
        step: entry.step,
        outcome: entry.outcome,
        detail: entry.detail,
    }
}

pub(super) fn release(release: Release) -> Result<ReleaseInfo, Problem> {
    let stored: Vec<StoredResource> = serde_json::from_str(release.status.resources.get())
        .map_err(|err| Problem::damaged(&format!("the resources of release {}: {err}", release.id)))?;
    let openings: BTreeMap<&String, &String> =
        stored.iter().flat_map(|resource| &resource.openings).collect();
    let opening = |(name, url): (&String, &String)| OpeningInfo { name: name.clone(), url: url.clone() };
    let openings = openings.into_iter().map(opening).collect();
    let resources = stored.into_iter().map(|resource| resource.info).collect();
    Ok(ReleaseInfo {
        release_id: release.id.to_string(),
        client: release.client.to_string(),
        name: release.name,
        product: release.product,
        environment: release.environment,
        archtype: release.archtype,
        hardware: release.hardware,
        target: release.target,
        namespace: release.namespace,
        state: release.status.state.as_str().to_owned(),
        reason: release.status.reason,
        revision: release.status.ready,
        applied_revision: release.status.applied,
        order_id: release.order.to_string(),
        trace_id: release.trace.to_string(),
        resources,
        openings,
        created_at: release.created_at.to_string(),
        updated_at: release.updated_at.to_string(),
    })
}

/// A resource as a status holds it.
#[derive(Deserialize)]
struct StoredResource {
    #[serde(flatten)]
    info: ResourceInfo,
    /// The URLs of the openings that its ports are, by their names.
    #[serde(default)]
    openings: BTreeMap<String, String>,
}

/// A revision without its content, within a release whose revision `ready` was
/// ready last.
pub(super) fn revision(revision: &Revision, ready: Option<u64>) -> RevisionInfo {
    RevisionInfo {
        revision: revision.number,
        hash: revision.hash.clone(),
        order_id: revision.order.to_string(),
        trace_id: revision.trace.to_string(),
        created_at: revision.created_at.to_string(),
        ready_at: revision.ready_at.map(|at| at.to_string()),
        current: ready == Some(revision.number),
        content: None,
    }
}

pub(crate) fn change(change: FieldChange) -> FieldChangeInfo {
    FieldChangeInfo { field: change.field, old: change.old, new: change.new }
}

pub(crate) fn object(planned: Planned) -> ObjectChange {
    let effect = match planned.effect {
        Effect::Create => "create",
        Effect::Change => "change",
        Effect::Keep => "keep",
        Effect::Remove => "remove",
    };
    ObjectChange {
        kind: planned.kind,
        name: planned.name,
        effect: effect.to_owned(),
        fields: planned.fields.into_iter().map(change).collect(),
    }
}

/// JSON as it is, digit for digit.
pub(super) fn raw(json: RawJson) -> Box<RawValue> {
    json.0
}
