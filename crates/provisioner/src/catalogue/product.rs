//! One product.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use orderwire_types::dataset::DatasetDef;
use orderwire_types::{DatasetName, Fault, Label, Right};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::opening::{Gate, Openings};
use super::schema::Schema;
use crate::render::{Context, Placed, RenderError, Templates};
use crate::target::Manifest;

/// The most bytes of a secret.
const SECRET_BYTES_MAX: usize = 64 * 1024;

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
    /// Where a release may be reached from outside of itself.
    pub openings: Openings,
    /// How long a revision may take to become healthy.
    pub patience: Duration,
    /// What has to answer before a revision counts as ready.
    pub gates: Vec<Gate>,
    /// What happens when a revision does not become healthy.
    pub on_failure: OnFailure,
    /// The secrets that a release is given, by the name of its environment variable.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Datasets that it writes; made when they do not exist.
    pub datasets: BTreeMap<DatasetName, DatasetDef>,
    pub(super) schema: Schema,
    /// The schema's defaults under `values.yaml`.
    pub(super) base: Value,
    /// `values-<environment>.yaml`, by the environment's canonical name.
    pub(super) environments: BTreeMap<String, Value>,
    pub(super) templates: Templates,
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
        self.schema.check(parameters)
    }

    /// The values that templates get for this environment: the schema's defaults <
    /// `values.yaml` < `values-<environment>.yaml` < parameters, merged map by map.
    pub fn values(&self, environment: &str, parameters: &Value) -> Value {
        let mut values = self.base.clone();
        if let Some(own) = self.environments.get(environment) {
            merge(&mut values, own);
        }
        if parameters.is_object() {
            merge(&mut values, parameters);
        }
        values
    }

    /// The objects of a release, in the order of the templates' names: every one of a
    /// declared kind, with a name that is a DNS label, no two the same.
    ///
    /// # Errors
    /// With the template and its line.
    pub fn render(&self, context: &Context) -> Result<Vec<Manifest>, RenderError> {
        let placed = self.placed(context)?;
        Ok(placed.into_iter().map(|object| object.manifest).collect())
    }

    /// The objects of a release, each with its place.
    pub(super) fn placed(&self, context: &Context) -> Result<Vec<Placed>, RenderError> {
        self.templates.render(&self.kinds, context)
    }
}

/// Lays `high` over `low`: maps key by key, everything else as a whole. Recursion is
/// as deep as values may be, which the readers of YAML and of orders bound.
pub(super) fn merge(low: &mut Value, high: &Value) {
    match (low, high) {
        (Value::Object(low), Value::Object(high)) => {
            for (key, value) in high {
                merge(low.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (low, high) => *low = high.clone(),
    }
}

impl SecretSource {
    /// The secret itself. Reads a file: call it where that may block.
    ///
    /// # Errors
    /// In plain words, without the secret: it is not there, empty, or longer than 64 KiB.
    pub fn read(&self) -> Result<String, String> {
        let (secret, source) = match self {
            Self::Env(name) => {
                let source = format!("the environment variable {name}");
                let text = std::env::var_os(name).ok_or_else(|| format!("{source} is not set"))?;
                (text.into_string().map_err(|_| format!("{source} is not UTF-8 text"))?, source)
            }
            Self::File(path) => {
                let source = format!("the file {}", path.display());
                let mut text =
                    read_file(path).map_err(|error| format!("{source} cannot be read: {error}"))?;
                if text.ends_with('\n') {
                    text.pop();
                    if text.ends_with('\r') {
                        text.pop();
                    }
                }
                (text, source)
            }
        };
        match secret.len() {
            0 => Err(format!("{source} is empty")),
            length if length > SECRET_BYTES_MAX => Err(format!("{source} is longer than 64 KiB")),
            _ if secret.contains('\0') => Err(format!("{source} contains a NUL character")),
            _ => Ok(secret),
        }
    }
}

fn read_file(path: &std::path::Path) -> std::io::Result<String> {
    // A pipe or device would never end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    let limit = u64::try_from(SECRET_BYTES_MAX).unwrap_or(u64::MAX) + 3;
    std::fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}
