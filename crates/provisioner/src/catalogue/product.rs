//! One product.

use std::collections::BTreeMap;
use std::time::Duration;

use orderwire_types::dataset::DatasetDef;
use orderwire_types::{DatasetName, Fault, Label, Right};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::render::{Context, RenderError};
use crate::target::Manifest;

/// A catalogue entry.
#[derive(Debug)]
pub struct Product {
    /// Its name: that of its folder.
    pub name: Label,
    /// Its version, in its maker's words.
    pub version: String,
    /// What it is, in a sentence.
    pub description: String,
    /// The kinds of target that it can run on: `process`.
    pub targets: Vec<String>,
    /// The JSON Schema (2020-12) of the parameters of an order.
    pub parameters: Value,
    /// The kinds of object that its templates may make.
    pub kinds: Vec<String>,
    /// What the key of a release may do.
    pub access: Access,
    /// How long a revision may take to become healthy.
    pub patience: Duration,
    /// What happens when a revision does not become healthy.
    pub on_failure: OnFailure,
    /// The secrets that a release is given, by the name of its environment variable.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Datasets that it writes; made when they do not exist.
    pub datasets: BTreeMap<DatasetName, DatasetDef>,
}

/// What the key of a release may do, always for the client of the release alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Rights: `read` and `write` only. Without any, a release gets no key.
    pub rights: Vec<Right>,
    /// Objects: `dataset/<name>` or `queue/<name>`.
    pub objects: Vec<String>,
}

/// What happens when a revision does not become healthy in time, or fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The last ready revision is restored; without one, everything is removed.
    #[default]
    Rollback,
    /// Everything stays as it is, and is not touched before the next order: for
    /// somebody to look at.
    Freeze,
    /// The revision stays and goes on being run; it may become healthy later.
    Keep,
}

/// Where a secret comes from. Set by whoever writes the product, never by an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable of the server: `${NAME}`.
    Env(String),
    /// A file, without the line break at its end: `file:/path`.
    File(std::path::PathBuf),
}

impl Product {
    /// Checks the parameters of an order against the product's schema. Pointers begin
    /// with `/parameters`.
    pub fn check_parameters(&self, parameters: &Value) -> Vec<Fault> {
        let _ = parameters;
        todo!()
    }

    /// The values that templates get for this environment: `values.yaml` <
    /// `values-<environment>.yaml` < parameters, merged map by map.
    pub fn values(&self, environment: &str, parameters: &Value) -> Value {
        let _ = (environment, parameters);
        todo!()
    }

    /// The objects of a release, in the order of the templates' names: every one of a
    /// declared kind, with a name that is a DNS label, no two the same.
    ///
    /// # Errors
    /// With the template and its line.
    pub fn render(&self, context: &Context) -> Result<Vec<Manifest>, RenderError> {
        let _ = context;
        todo!()
    }
}

impl SecretSource {
    /// The secret itself. Reads a file: call it where that may block.
    ///
    /// # Errors
    /// In plain words, without the secret: it is not there, empty, or longer than 64 KiB.
    pub fn read(&self) -> Result<String, String> {
        todo!()
    }
}
