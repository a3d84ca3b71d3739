//! Datasets and clients.

use orderwire_types::dataset::DatasetDef;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::ClientRelease;

/// A dataset: its name and its definition, flat.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DatasetInfo {
    /// Its name.
    pub name: String,
    /// Its definition: `fields`, `key`, `on_conflict`, `time`, `unknown`, `retention`.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub def: DatasetDef,
    /// When it was defined first.
    pub created_at: String,
    /// When its definition changed last.
    pub changed_at: String,
}

/// How much of a file is recorded.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportState {
    /// Rows of the file that are recorded from its beginning on without a gap: where an import
    /// goes on.
    pub rows: u64,
    /// Rows of the file that are recorded, wherever they stand in it.
    pub lines: u64,
}

/// A client.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ClientInfo {
    /// Its name.
    pub client: String,
    /// When it was seen first.
    pub since: String,
    /// When something of it changed last.
    pub changed_at: String,
    /// The trace of that change.
    pub trace_id: String,
    /// What is known of it beyond that.
    #[schema(value_type = Object)]
    pub attributes: Box<RawValue>,
    /// What it has, by environment and name; the first hundred.
    #[serde(default)]
    pub releases: Vec<ClientRelease>,
    /// Whether it has more than that: `GET /v1/releases` has them all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more_releases: bool,
}
