//! `cargo xtask generate`: writes every generated file anew. Files that a crate
//! generates from its own types are written by that crate's tests, which
//! compare them otherwise: they do it when `UPDATE_GENERATED` is set.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::air_quality;
use crate::shell::{self, cargo};
use crate::tidy::Fault;

/// What a test asks whether to write or to compare.
const SWITCH: &str = "UPDATE_GENERATED";

/// A committed file and what makes it.
struct Generated {
    path: &'static str,
    make: fn() -> String,
}

/// The files that this crate generates.
const OWN: &[Generated] =
    &[Generated { path: "examples/air-quality/measures.csv", make: air_quality::measures }];

pub(crate) fn run() -> Result<()> {
    let root = shell::root();
    for Generated { path, make } in OWN {
        std::fs::write(root.join(path), make()).with_context(|| format!("write {path}"))?;
        eprintln!("wrote {path}");
    }
    let packages = packages_that_generate()?;
    if packages.is_empty() {
        return Ok(());
    }
    let mut test = cargo(["test", "--tests", "--no-fail-fast"]);
    for package in &packages {
        test.args(["--package", package]);
    }
    shell::run(test.env(SWITCH, "1"))
}

/// The files of this crate that are not what the generator makes. Those of
/// others are compared by their own tests.
pub(crate) fn stale(root: &Path) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for Generated { path, make } in OWN {
        let committed = match std::fs::read_to_string(root.join(path)) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("read {path}")),
        };
        if committed.as_deref() != Some(&make()) {
            faults.push(Fault::of_file(path, "is not what its generator makes: run cargo xtask generate"));
        }
    }
    Ok(faults)
}

/// The packages with a source that asks for the switch, this one aside.
fn packages_that_generate() -> Result<Vec<String>> {
    let metadata = shell::output(&mut cargo(["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("read cargo's metadata")?;
    let mut packages = Vec::new();
    for package in metadata["packages"].as_array().context("cargo's metadata lists no packages")? {
        let (Some(name), Some(manifest)) = (package["name"].as_str(), package["manifest_path"].as_str())
        else {
            continue;
        };
        let folder = Path::new(manifest).parent().context("a manifest is in a folder")?;
        if name != env!("CARGO_PKG_NAME") && mentions_switch(folder)? {
            packages.push(name.to_owned());
        }
    }
    Ok(packages)
}

fn mentions_switch(folder: &Path) -> Result<bool> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let found = if path.is_dir() {
            mentions_switch(&path)?
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            std::fs::read_to_string(&path)
                .with_context(|| format!("read {}", path.display()))?
                .contains(SWITCH)
        } else {
            false
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}
