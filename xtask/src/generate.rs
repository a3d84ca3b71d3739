//! `cargo xtask generate`: writes every generated file anew. A file that a crate
//! generates from its own types is written by a test of that crate, which
//! compares it otherwise: it does when `UPDATE_GENERATED` is set. The name of such a test
//! ends with `_is_generated`, so that no other test is run for it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::air_quality;
use crate::shell::{self, cargo};
use crate::tidy::Fault;

/// What a test asks whether to write or to compare.
const SWITCH: &str = "UPDATE_GENERATED";

/// The end of the names of those tests.
const NAMED: &str = "_is_generated";

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
    let mut test = cargo(["test", "--tests", "--no-fail-fast"]);
    for package in packages_that_generate()? {
        test.args(["--package", &package]);
    }
    // What is skipped is said, which the test runner would keep for itself.
    shell::run(test.args(["--", NAMED, "--nocapture"]).env(SWITCH, "1"))
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

/// The packages with such a test.
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
        let tests = folder.join("tests");
        if tests.is_dir() && has_generating_test(&tests)? {
            packages.push(name.to_owned());
        }
    }
    ensure!(!packages.is_empty(), "no test has a name that ends with {NAMED}");
    Ok(packages)
}

/// Whether such a test is below this folder.
fn has_generating_test(folder: &Path) -> Result<bool> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut found = false;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found |= has_generating_test(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let is_named = text.contains(&format!("{NAMED}()"));
            ensure!(
                is_named || !text.contains(SWITCH),
                "{} asks for {SWITCH} in a test whose name does not end with {NAMED}: it would not be run",
                path.display()
            );
            found |= is_named;
        }
    }
    Ok(found)
}
