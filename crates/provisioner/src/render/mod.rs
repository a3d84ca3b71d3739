//! From templates and values to objects, so that no value can ever be more than
//! the scalar that it stands in.

use orderwire_types::Client;
use serde_json::Value;

/// What templates know of a release. Neither its trace nor its order: the same
/// content must stay the same.
#[derive(Clone, Debug)]
pub struct Context {
    /// Whose.
    pub client: Client,
    /// The product.
    pub product: String,
    /// The name of the release.
    pub release: String,
    /// The environment.
    pub environment: String,
    /// The archtype; empty when none was given.
    pub archtype: String,
    /// The hardware class; empty when none was given.
    pub hardware: String,
    /// The namespace.
    pub namespace: String,
    /// The merged values.
    pub values: Value,
}

/// Why a product could not be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {detail}", .template.as_deref().unwrap_or("templates"))]
pub struct RenderError {
    /// The template, as a path within the product.
    pub template: Option<String>,
    /// The line in it, from 1; 0 when it is not known.
    pub line: usize,
    /// What is wrong.
    pub detail: String,
}
