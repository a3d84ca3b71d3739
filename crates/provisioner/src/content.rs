//! What a revision holds: everything that is needed to bring it back, whatever
//! has become of the catalogue since.

use std::collections::BTreeMap;

use orderwire_types::DatasetName;
use orderwire_types::dataset::DatasetDef;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::catalogue::{Access, Gate, OnFailure, Openings};
use crate::target::Manifest;

/// The content of a revision. Its serde form is stored and shown; the maps of its
/// values are sorted, so that the same content has one spelling and one hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// The product.
    pub product: String,
    /// Its version.
    pub version: String,
    /// The archtype; empty when none was given.
    pub archtype: String,
    /// The hardware class; empty when none was given.
    pub hardware: String,
    /// The parameters of the order.
    pub parameters: Value,
    /// The objects.
    pub manifests: Vec<Manifest>,
    /// Every image that an object names, sorted.
    pub images: Vec<String>,
    /// The secrets, by name: each only as a hash under the installation's key.
    pub secrets: BTreeMap<String, String>,
    /// What its key may do.
    pub access: Access,
    /// Datasets that it writes.
    pub datasets: BTreeMap<DatasetName, DatasetDef>,
    /// Where it may be reached from outside of itself.
    #[serde(default, skip_serializing_if = "Openings::is_empty")]
    pub openings: Openings,
    /// What has to answer before it counts as ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
    /// How long it may take to become healthy, in milliseconds.
    pub patience_ms: u64,
    /// What happens when it does not.
    pub on_failure: OnFailure,
}

impl Content {
    /// SHA-256 of the content, as lower-case hex.
    pub fn hash(&self) -> String {
        let bytes = serde_json::to_vec(self).expect("maps with string keys are serialisable");
        Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
