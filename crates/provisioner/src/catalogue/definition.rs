//! `product.yaml` as it is written, and what must hold of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orderwire_config::{Faults, Report, yaml};
use orderwire_types::dataset::{DatasetDef, Span};
use orderwire_types::{DatasetName, Label, QueueName, Right};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::opening::{self, Gate, Openings};
use super::product::{Access, OnFailure, SecretSource};

/// The kinds of target that products can run on.
const TARGETS: [&str; 1] = ["process"];
/// The kinds of object that there are.
const KINDS: [&str; 2] = ["Process", "File"];
/// The most that a product may ask for of anything that it lists.
const ENTRIES_MAX: usize = 64;

/// A product as its maker writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Definition {
    pub(super) product: Label,
    pub(super) version: String,
    pub(super) description: String,
    pub(super) targets: Vec<String>,
    /// Read as JSON elsewhere: it has no type here.
    #[serde(default, rename = "parameters")]
    _parameters: Option<IgnoredAny>,
    pub(super) kinds: Vec<String>,
    #[serde(default)]
    access: AccessDef,
    #[serde(default)]
    pub(super) openings: Openings,
    #[serde(default)]
    pub(super) health: Health,
    #[serde(default)]
    pub(super) on_failure: OnFailure,
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) datasets: BTreeMap<DatasetName, DatasetDef>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AccessDef {
    rights: Vec<Right>,
    objects: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Health {
    patience: Span,
    pub(super) gates: Vec<Gate>,
}

impl Default for Health {
    fn default() -> Self {
        Self { patience: Span(std::time::Duration::from_secs(60)), gates: Vec::new() }
    }
}

impl Definition {
    /// Reads `product.yaml` of a folder of this name.
    pub(super) fn read(file: &str, text: &str, folder: &str) -> Result<Self, Faults> {
        yaml::read_with(file, text, |definition: &Self, report| definition.check(folder, report))
    }

    pub(super) fn access(&self) -> Access {
        Access { rights: self.access.rights.clone(), objects: self.access.objects.clone() }
    }

    pub(super) fn patience(&self) -> std::time::Duration {
        self.health.patience.0
    }

    pub(super) fn secrets(&self) -> BTreeMap<String, SecretSource> {
        let read = |(name, text): (&String, &String)| Some((name.clone(), secret(text)?));
        self.secrets.iter().filter_map(read).collect()
    }

    fn check(&self, folder: &str, report: &mut Report<'_>) {
        if self.product.as_str() != folder {
            report.fault(&["product"], format!("must be the name of its folder, {folder}"));
        }
        for (key, text, most) in [("version", &self.version, 64), ("description", &self.description, 1_000)] {
            if text.trim().is_empty() || text.chars().count() > most {
                report.fault(&[key], format!("must be text of 1 to {most} characters"));
            }
        }
        one_of("targets", &self.targets, &TARGETS, report);
        one_of("kinds", &self.kinds, &KINDS, report);
        let patience = self.health.patience.0.as_secs();
        if !(1..=3600).contains(&patience) {
            report.fault(
                &["health", "patience"],
                format!("{} is out of range: 1s to 1h", self.health.patience),
            );
        }
        opening::check(&self.openings, &self.health.gates, report);
        self.check_access(report);
        for (name, text) in &self.secrets {
            if !is_variable(name) || name.starts_with("ORDERWIRE_") || name.starts_with("PORT") {
                let rule = "must be of A-Z 0-9 _ with a letter first, and not begin with ORDERWIRE_ or PORT";
                report.fault(&["secrets", name], rule);
            }
            if secret(text).is_none() {
                // The text may be the secret itself: it is not repeated.
                report.fault(
                    &["secrets", name],
                    "a secret is never written here; name where it is: \"${VARIABLE}\" or \"file:/path\"",
                );
            }
        }
        for (name, def) in &self.datasets {
            for fault in def.faults() {
                let detail = format!("{}: {}", fault.pointer, fault.detail);
                report.fault(&["datasets", name.as_str()], detail);
            }
        }
        for (key, count) in [("secrets", self.secrets.len()), ("datasets", self.datasets.len())] {
            if count > ENTRIES_MAX {
                report.fault(&[key], format!("at most {ENTRIES_MAX}"));
            }
        }
    }

    fn check_access(&self, report: &mut Report<'_>) {
        let AccessDef { rights, objects } = &self.access;
        for (i, right) in rights.iter().enumerate() {
            if !matches!(right, Right::Read | Right::Write) {
                let detail = "a release may read and write, nothing else";
                report.fault(&["access", "rights", &format!("[{i}]")], detail);
            }
        }
        for (i, object) in objects.iter().enumerate() {
            let is_named = match object.split_once('/') {
                Some(("dataset", name)) => name.parse::<DatasetName>().is_ok(),
                Some(("queue", name)) => name.parse::<QueueName>().is_ok(),
                _ => false,
            };
            if !is_named {
                let detail = "must be dataset/<name> or queue/<name>";
                report.fault(&["access", "objects", &format!("[{i}]")], detail);
            }
        }
        if rights.is_empty() != objects.is_empty() {
            report.fault(&["access"], "say both rights and objects, or leave access out");
        }
        if objects.len() > ENTRIES_MAX {
            report.fault(&["access", "objects"], format!("at most {ENTRIES_MAX}"));
        }
    }
}

fn one_of(key: &str, given: &[String], known: &[&str], report: &mut Report<'_>) {
    if given.is_empty() {
        report.fault(&[key], format!("must name at least one of {}", known.join(", ")));
    }
    for (i, word) in given.iter().enumerate() {
        if !known.contains(&word.as_str()) {
            let detail = format!("{word:?} is not one of {}", known.join(", "));
            report.fault(&[key, &format!("[{i}]")], detail);
        }
    }
}

fn secret(text: &str) -> Option<SecretSource> {
    if let Some(path) = text.strip_prefix("file:") {
        let absolute = Path::new(path).is_absolute() && !path.contains('\0');
        return absolute.then(|| SecretSource::File(PathBuf::from(path)));
    }
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    is_variable(name).then(|| SecretSource::Env(name.to_owned()))
}

fn is_variable(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}
