//! From the files of a product to the product.

use std::collections::BTreeMap;

use orderwire_config::yaml;
use serde_json::{Map, Value};

use super::definition::Definition;
use super::files::{FILE_BYTES_MAX, Files};
use super::product::{Product, merge};
use super::schema::Schema;
use crate::Names;
use crate::render::Templates;

/// Reads a product with every fault.
///
/// # Errors
/// Every fault, each as `FILE:LINE:COLUMN: what is wrong`.
pub(super) fn product(files: &Files, names: &Names) -> Result<Product, Vec<String>> {
    let mut faults = Vec::new();
    let definition = definition(files, &mut faults);
    let schema = schema(files, &mut faults);
    let base = values(files, "values.yaml", &mut faults);
    let environments = environments(files, names, &mut faults);
    let templates = files.templates();
    if templates.is_empty() {
        faults.push(format!("{}: there is no template; write one", files.shown("templates")));
    }
    let templates = Templates::new(templates);
    if let Err(errors) = &templates {
        faults.extend(errors.iter().map(|error| format!("{}/{error}", files.root)));
    }
    let (Some(definition), Some(schema), Ok(templates), true) =
        (definition, schema, templates, faults.is_empty())
    else {
        return Err(faults);
    };
    let mut lowest = schema.defaults();
    merge(&mut lowest, &base);
    Ok(Product {
        version: definition.version.clone(),
        description: definition.description.trim().to_owned(),
        targets: definition.targets.clone(),
        parameters: schema.json.clone(),
        kinds: definition.kinds.clone(),
        access: definition.access(),
        patience: definition.patience(),
        on_failure: definition.on_failure,
        secrets: definition.secrets(),
        name: definition.product,
        openings: definition.openings,
        gates: definition.health.gates,
        datasets: definition.datasets,
        schema,
        base: lowest,
        environments,
        templates,
    })
}

fn definition(files: &Files, faults: &mut Vec<String>) -> Option<Definition> {
    let file = files.shown("product.yaml");
    let Some(text) = files.texts.get("product.yaml") else {
        faults.push(format!("{file}: is missing; it says what the product is"));
        return None;
    };
    match Definition::read(&file, text, &files.name) {
        Ok(definition) => Some(definition),
        Err(found) => {
            faults.extend(found.iter().map(ToString::to_string));
            None
        }
    }
}

/// The schema of the parameters. A file that cannot be read as YAML was reported
/// with its definition.
fn schema(files: &Files, faults: &mut Vec<String>) -> Option<Schema> {
    let file = files.shown("product.yaml");
    let nodes = yaml::documents(&file, files.texts.get("product.yaml")?, FILE_BYTES_MAX).ok()?;
    let node = nodes.first()?.get("parameters");
    let json = match node.map(yaml::Node::to_json).transpose() {
        Ok(json) => json.filter(|json| !json.is_null()),
        Err(found) => {
            faults.extend(found.iter().map(ToString::to_string));
            return None;
        }
    };
    match Schema::new(json) {
        Ok(schema) => Some(schema),
        Err(detail) => {
            let at = node.map_or_else(|| file.clone(), |node| node.at.to_string());
            faults.push(format!("{at}: parameters: {detail}"));
            None
        }
    }
}

fn environments(files: &Files, names: &Names, faults: &mut Vec<String>) -> BTreeMap<String, Value> {
    let mut environments = BTreeMap::new();
    for path in files.texts.keys() {
        let Some(given) = path.strip_prefix("values-").and_then(|rest| rest.strip_suffix(".yaml")) else {
            continue;
        };
        let file = files.shown(path);
        let Some(name) = names.environment(Some(given)) else {
            let known: Vec<&str> = names.environments().collect();
            faults.push(format!("{file}: {given:?} is no environment; there are {}", known.join(", ")));
            continue;
        };
        if environments.insert(name.to_owned(), values(files, path, faults)).is_some() {
            faults.push(format!("{file}: a second file for the environment {name}; keep one"));
        }
    }
    environments
}

fn values(files: &Files, path: &str, faults: &mut Vec<String>) -> Value {
    let empty = || Value::Object(Map::new());
    let Some(text) = files.texts.get(path) else { return empty() };
    let file = files.shown(path);
    let found = match yaml::documents(&file, text, FILE_BYTES_MAX) {
        Err(found) => found,
        Ok(nodes) => {
            if let Some(second) = nodes.get(1) {
                faults.push(format!("{}: a second document begins here; put everything into one", second.at));
            }
            match nodes.first().map(|node| (node, node.to_json())) {
                None => return empty(),
                Some((_, Ok(values))) if values.is_object() => return values,
                Some((node, Ok(_))) => {
                    faults.push(format!("{}: must be a map of names and values", node.at));
                    return empty();
                }
                Some((_, Err(found))) => found,
            }
        }
    };
    faults.extend(found.iter().map(ToString::to_string));
    empty()
}
