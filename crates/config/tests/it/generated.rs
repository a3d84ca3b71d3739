//! What is committed is what the code says.

use std::path::Path;

use orderwire_config::{Config, default_yaml, schema};

use crate::load;

#[test]
fn default_file_says_every_default() {
    assert_eq!(load(default_yaml()).unwrap(), Config::default());
    // Not by being empty: each key of the structure stands in the file.
    let config = serde_json::to_value(Config::default()).unwrap();
    let mut missing = Vec::new();
    for (section, value) in config.as_object().unwrap() {
        let keys = value.as_object().into_iter().flatten().map(|(key, _)| format!("  {key}: "));
        let section = format!("{section}:");
        missing.extend(
            std::iter::once(section)
                .chain(keys)
                .filter(|line| !default_yaml().contains(&format!("\n{line}"))),
        );
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// The examples in the comments are configuration too.
#[test]
fn default_file_with_its_examples_loads() {
    let uncomment = |line: &str| match line.strip_prefix("#  ") {
        Some(example) if !line.starts_with("#   -") => format!("  {example}"),
        _ => line.strip_suffix(" {}").unwrap_or(line).to_owned(),
    };
    let yaml: Vec<String> = default_yaml().lines().map(uncomment).collect();
    // Secrets are read, so that they have to be there.
    let mut yaml = yaml.join("\n");
    for secret in ["${SHOP_SECRET}", "${SHOP_TOKEN}", "${MQTT_PASSWORD}"] {
        yaml = yaml.replace(secret, "${CARGO_MANIFEST_DIR}");
    }
    let config = load(yaml).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!((config.queues.len(), config.datasets.len(), config.views.len()), (3, 1, 1));
    assert_eq!((config.products.aliases.len(), config.environments.len()), (1, 3));
    assert_eq!((config.forwards.len(), config.rules.len(), config.mqtt.len()), (1, 1, 1));
    assert_eq!((config.archtypes.len(), config.hardware.len()), (1, 1));
    // What the example of a target says are the defaults.
    assert_eq!(config.target_settings(), Config::default().target_settings());
}

#[test]
fn the_schema_is_generated() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/config.schema.json");
    let fresh = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == fresh, "docs/config.schema.json is stale; run cargo xtask generate");
}

#[test]
fn schema_describes_every_key_and_closes_every_section() {
    fn visit(at: &str, schema: &serde_json::Value, faults: &mut Vec<String>) {
        let Some(object) = schema.as_object() else { return };
        if let Some(properties) = object.get("properties").and_then(|value| value.as_object()) {
            if object.get("additionalProperties") != Some(&false.into()) {
                faults.push(format!("{at} is open"));
            }
            for (key, property) in properties {
                if property.get("description").is_none() {
                    faults.push(format!("{at}.{key} has no description"));
                }
            }
        }
        for (key, value) in object.get("$defs").and_then(|defs| defs.as_object()).into_iter().flatten() {
            visit(key, value, faults);
        }
    }
    let mut faults = Vec::new();
    visit("configuration", &schema(), &mut faults);
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn the_example_of_the_repository_loads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/air-quality/orderwire.yaml");
    let config = load(std::fs::read(path).unwrap()).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(config.views.values().any(|view| view.path == "/api/v1/measures/air"));
}
