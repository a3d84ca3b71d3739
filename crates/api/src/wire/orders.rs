//! Orders, releases, products.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// An order.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// Whose; else the header `Orderwire-Client`, the key's only client, or `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The product; may be left out for `update` and `remove` of a named release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The name of the release; the product's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The environment, by its name or an alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The archtype, by its name or an alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archtype: Option<String>,
    /// The hardware class, by its name or an alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<String>,
    /// Where on the target; by the target's template by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Parameters of the product, as its schema says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<Value>,
    /// `create`, `update` or `remove`; left out, the release is created or updated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The trace that the order belongs to; else that of the header `traceparent`,
    /// or a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// An order was accepted: it is recorded.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderAccepted {
    /// Its id.
    pub order_id: String,
    /// Its trace.
    pub trace_id: String,
    /// How far it is: `accepted`, or further when it was accepted before.
    pub state: String,
    /// Where to ask for it.
    pub status_url: String,
}

/// An order and how far it is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderInfo {
    /// Its id.
    pub order_id: String,
    /// Its trace.
    pub trace_id: String,
    /// Whose.
    pub client: String,
    /// The name of the release.
    pub name: String,
    /// The product.
    pub product: String,
    /// The namespace.
    pub namespace: String,
    /// The environment.
    pub environment: String,
    /// The archtype, if one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archtype: Option<String>,
    /// The hardware class, if one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<String>,
    /// The target.
    pub target: String,
    /// What was asked for: `apply` (create or update), `create`, `update`,
    /// `rollback`, `remove`.
    pub action: String,
    /// `accepted`, `planned`, `applying`, `waiting`, `rolling_back`, `removing`; or, for
    /// good, `ready`, `unchanged`, `failed`, `rolled_back`, `cancelled`, `superseded`,
    /// `removed`.
    pub state: String,
    /// The revision that it made or found; null before.
    pub revision: Option<u64>,
    /// Why, where the state needs a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The release; absent for an order that failed before it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_id: Option<String>,
    /// The parameters, as given.
    #[schema(value_type = Object)]
    pub parameters: Box<serde_json::value::RawValue>,
    /// Whether somebody asked to cancel it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel_requested: bool,
    /// What a removal removed, as `Kind name`; present when it is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// When it was accepted.
    pub created_at: String,
    /// When its state changed last.
    pub updated_at: String,
}

/// One step of the work on an order.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderStep {
    /// Its number within the order.
    pub n: u64,
    /// When.
    pub at: String,
    /// `plan`, `prepare`, `apply`, `wait`, `settle`, `restore`, `remove`, `cancel`.
    pub step: String,
    /// `begun`, `done`, `failed`, `retry`.
    pub outcome: String,
    /// Anything worth knowing, in plain words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A release and how it is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReleaseInfo {
    /// Its id.
    pub release_id: String,
    /// Whose.
    pub client: String,
    /// Its name.
    pub name: String,
    /// Its product.
    pub product: String,
    /// Its environment.
    pub environment: String,
    /// Its archtype.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archtype: Option<String>,
    /// Its hardware class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<String>,
    /// Its target.
    pub target: String,
    /// Its namespace.
    pub namespace: String,
    /// `changing`, `ready`, `degraded`, `absent`, `frozen`, `removed`.
    pub state: String,
    /// Why, where the state needs a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The revision that was ready last; null before the first.
    pub revision: Option<u64>,
    /// The revision that is on the target, or on its way there; null when none is.
    pub applied_revision: Option<u64>,
    /// The newest order.
    pub order_id: String,
    /// The trace of that order.
    pub trace_id: String,
    /// Its resources, as they were observed last.
    pub resources: Vec<ResourceInfo>,
    /// Where it may be reached from outside of itself, by name; none that does not run.
    #[serde(default)]
    pub openings: Vec<OpeningInfo>,
    /// When it was created.
    pub created_at: String,
    /// When it changed last.
    pub updated_at: String,
}

/// One thing of a release on its target.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ResourceInfo {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// `ready`, `progressing`, `failed` or `missing`.
    pub state: String,
    /// Why, where it is not `ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where it answers, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// Where a release may be reached from outside of itself.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OpeningInfo {
    /// Its name in the product.
    pub name: String,
    /// Its URL, with the scheme `http`, `https` or `tcp`.
    pub url: String,
}

/// A revision of a release.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RevisionInfo {
    /// Its number.
    pub revision: u64,
    /// SHA-256 of its content.
    pub hash: String,
    /// The order that made it.
    pub order_id: String,
    /// The trace of that order.
    pub trace_id: String,
    /// When it was made.
    pub created_at: String,
    /// When it was ready first; null when it never was.
    pub ready_at: Option<String>,
    /// Whether it is the one that was ready last.
    pub current: bool,
    /// Its content; only where one revision is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub content: Option<Box<serde_json::value::RawValue>>,
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FieldChangeInfo {
    /// Where, as an RFC 6901 pointer.
    pub field: String,
    /// What was there; absent when nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub old: Option<Value>,
    /// What is there; absent when nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub new: Option<Value>,
}

/// What differs between two revisions.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RevisionDiff {
    /// The earlier one.
    pub from: u64,
    /// The later one.
    pub to: u64,
    /// Field by field; empty when their content is the same.
    pub changes: Vec<FieldChangeInfo>,
}

/// What happens to one object of a plan, or how it differs on the target.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ObjectChange {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// `create`, `change`, `keep` or `remove`.
    pub effect: String,
    /// What differs, for `change`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChangeInfo>,
}

/// What an order would do.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderPlan {
    /// Whose.
    pub client: String,
    /// The release.
    pub name: String,
    /// The product.
    pub product: String,
    /// The environment.
    pub environment: String,
    /// The namespace.
    pub namespace: String,
    /// The target.
    pub target: String,
    /// `create`, `update`, `unchanged`, `remove`; `refused` when it could not be done.
    pub outcome: String,
    /// Why it would be refused, each a clear sentence; empty when it would not.
    pub refused: Vec<String>,
    /// Object by object.
    pub objects: Vec<ObjectChange>,
    /// What of the revision's content would change, field by field.
    pub changes: Vec<FieldChangeInfo>,
}

/// What on the target differs from the revision that was applied last.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReleaseDrift {
    /// The revision; null when nothing of the release is on its target.
    pub revision: Option<u64>,
    /// Whether anything differs.
    pub drifted: bool,
    /// Object by object; only what differs.
    pub objects: Vec<ObjectChange>,
}

/// Brings back an earlier revision.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Its number; the ready one before the present one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// A product of the catalogue.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProductInfo {
    /// Its name.
    pub product: String,
    /// Its version.
    pub version: String,
    /// What it is.
    pub description: String,
    /// Other names under which it can be ordered.
    pub aliases: Vec<String>,
    /// The kinds of target that it can run on.
    pub targets: Vec<String>,
    /// The JSON Schema of its parameters.
    #[schema(value_type = Object)]
    pub parameters: Value,
    /// Where a release of it may be reached from outside of itself.
    #[serde(default)]
    pub openings: Vec<ProductOpening>,
    /// What happens when a revision does not become healthy: `rollback`, `freeze` or
    /// `keep`.
    pub on_failure: String,
}

/// Where releases of a product may be reached from outside of themselves.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProductOpening {
    /// Its name.
    pub name: String,
    /// `http`, `https` or `tcp`.
    pub scheme: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What a client has.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClientRelease {
    /// The release.
    pub release_id: String,
    /// Its name.
    pub name: String,
    /// Its product.
    pub product: String,
    /// Its environment.
    pub environment: String,
    /// Its archtype.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archtype: Option<String>,
    /// Its hardware class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<String>,
    /// Its target.
    pub target: String,
    /// Its namespace.
    pub namespace: String,
    /// How it is.
    pub state: String,
    /// The revision that was ready last.
    pub revision: Option<u64>,
    /// Since when.
    pub since: String,
    /// The trace of its newest order.
    pub trace_id: String,
}
