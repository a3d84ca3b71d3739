//! The JSON Schema of a product's parameters, compiled once.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use orderwire_types::Fault;
use serde_json::{Map, Value, json};

/// The most faults of the parameters of one order that are told.
const FAULTS_MAX: usize = 20;
/// The most characters of a sentence about a value.
const DETAIL_MAX: usize = 300;

/// A schema, and what it is made from.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) json: Value,
    validator: Validator,
}

impl Schema {
    /// Compiles a schema of an object; without one, no parameter is allowed.
    ///
    /// # Errors
    /// In plain words: it is no schema, is not about an object, or refers to another
    /// document.
    pub(super) fn new(schema: Option<Value>) -> Result<Self, String> {
        let json = schema.unwrap_or_else(|| json!({"type": "object", "additionalProperties": false}));
        if json["type"] != "object" {
            return Err("the parameters must be an object: write type: object".to_owned());
        }
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .offline()
            .should_validate_formats(true)
            // Linear in the length of a value, whatever the pattern.
            .with_pattern_options(PatternOptions::regex())
            .build(&json)
            .map_err(|error| format!("not a JSON Schema (2020-12): {}", short(&error.to_string())))?;
        Ok(Self { json, validator })
    }

    /// Every fault of an order's parameters, with its pointer.
    pub(super) fn check(&self, parameters: &Value) -> Vec<Fault> {
        self.validator.iter_errors(parameters).flat_map(|error| faults(&error)).take(FAULTS_MAX).collect()
    }

    /// What parameters are when they are left out.
    pub(super) fn defaults(&self) -> Value {
        let default =
            |(name, schema): (&String, &Value)| Some((name.clone(), schema.get("default")?.clone()));
        Value::Object(self.properties().filter_map(default).collect())
    }

    /// Parameters to try a product with: of each its first example, or else its default.
    /// Those that are required and have neither are named.
    pub(super) fn examples(&self) -> (Map<String, Value>, Vec<String>) {
        let example = |(name, schema): (&String, &Value)| {
            let example = schema["examples"].get(0).or_else(|| schema.get("default"))?;
            Some((name.clone(), example.clone()))
        };
        let examples: Map<String, Value> = self.properties().filter_map(example).collect();
        let required = self.json["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let missing = required.filter(|name| !examples.contains_key(*name)).map(str::to_owned).collect();
        (examples, missing)
    }

    /// The parameters that may be text.
    pub(super) fn texts(&self) -> Vec<String> {
        self.properties()
            .filter(|(_, schema)| schema["type"] == "string")
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn properties(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.json["properties"].as_object().into_iter().flatten()
    }
}

fn faults(error: &ValidationError<'_>) -> Vec<Fault> {
    let at = format!("/parameters{}", error.instance_path());
    let within = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => unexpected
            .iter()
            .take(FAULTS_MAX)
            .map(|key| Fault::invalid(within(key), "the product has no such parameter; remove it"))
            .collect(),
        ValidationErrorKind::Required { property } => {
            let pointer = property.as_str().map_or_else(|| at.clone(), within);
            vec![Fault::invalid(pointer, "the product needs this parameter; give it")]
        }
        _ => vec![Fault::invalid(at, short(&error.to_string()))],
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(DETAIL_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
