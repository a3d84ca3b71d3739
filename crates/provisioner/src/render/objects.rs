//! What every object of a product must be.

use std::collections::BTreeSet;

use orderwire_types::Label;
use serde_json::Value;

use super::document::Document;
use super::{OBJECTS_MAX, RenderError};
use crate::target::Manifest;

/// Collects the objects of a release.
pub(super) struct Objects<'o> {
    kinds: &'o [String],
    namespace: &'o str,
    names: BTreeSet<(String, String)>,
    placed: Vec<Placed>,
}

/// An object and where it is written.
#[derive(Debug)]
pub(crate) struct Placed {
    /// The template.
    template: String,
    /// The line in it; 0 when it is not known.
    line: usize,
    /// The object.
    pub(crate) manifest: Manifest,
}

impl Placed {
    /// What is wrong with the object.
    pub(crate) fn fault(&self, detail: impl Into<String>) -> RenderError {
        RenderError::at(&self.template, self.line, detail)
    }
}

impl<'o> Objects<'o> {
    pub(super) fn new(kinds: &'o [String], namespace: &'o str) -> Self {
        Self { kinds, namespace, names: BTreeSet::new(), placed: Vec::new() }
    }

    pub(super) fn add(&mut self, template: &str, document: Document) -> Result<(), RenderError> {
        let Document { line, value } = document;
        self.check(&value).map_err(|detail| RenderError::at(template, line, detail))?;
        self.placed.push(Placed { template: template.to_owned(), line, manifest: Manifest(value) });
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Vec<Placed>, RenderError> {
        if self.placed.is_empty() {
            let detail = "the product makes no object; write one into a template".to_owned();
            return Err(RenderError { template: None, line: 0, detail });
        }
        Ok(self.placed)
    }

    fn check(&mut self, value: &Value) -> Result<(), String> {
        if !value.is_object() {
            return Err("a document must be an object with apiVersion, kind and metadata".to_owned());
        }
        if self.placed.len() >= OBJECTS_MAX {
            return Err(format!("a release has at most {OBJECTS_MAX} objects"));
        }
        if value["apiVersion"].as_str().is_none_or(str::is_empty) {
            return Err("apiVersion is missing; write apiVersion: orderwire.dev/v1".to_owned());
        }
        let Some(kind) = value["kind"].as_str() else {
            return Err(format!("kind is missing; it is one of {}", self.kinds.join(", ")));
        };
        if !self.kinds.iter().any(|declared| declared == kind) {
            let kind: String = kind.chars().take(64).collect();
            let kinds = self.kinds.join(", ");
            return Err(format!(
                "kind {kind:?} is not one that the product declares ({kinds}); add it to kinds in product.yaml"
            ));
        }
        let metadata = &value["metadata"];
        let Some(name) = metadata["name"].as_str() else {
            return Err(format!("metadata.name of the {kind} is missing, or is no text"));
        };
        if let Err(invalid) = name.parse::<Label>() {
            return Err(format!("metadata.name of the {kind}: {invalid}"));
        }
        match &metadata["namespace"] {
            Value::Null => {}
            Value::String(namespace) if namespace == self.namespace => {}
            _ => {
                return Err(format!(
                    "metadata.namespace of the {kind} {name} must be the release's own, {}; leave it out",
                    self.namespace
                ));
            }
        }
        if !self.names.insert((kind.to_owned(), name.to_owned())) {
            return Err(format!("there is a {kind} {name} already; give each its own name"));
        }
        Ok(())
    }
}
