//! The direction of dependencies, from `cargo metadata`, against the tables in
//! `layers`.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Fault;
use super::layers::{EXCEPTIONS, KEPT, LAYERS, Layer, WITHOUT};

/// One package of the workspace and what it imports.
#[derive(Debug)]
struct Package {
    /// Without `orderwire-`.
    name: String,
    edges: Vec<Edge>,
}

#[derive(Debug)]
struct Edge {
    /// The crate of ours without its prefix, or the library.
    to: String,
    ours: bool,
    /// A dev-dependency.
    test: bool,
}

/// Every fault in the output of `cargo metadata --no-deps`.
pub(super) fn check(metadata: &str) -> Result<Vec<Fault>> {
    Ok(faults(&packages(metadata)?))
}

fn packages(metadata: &str) -> Result<Vec<Package>> {
    let metadata: Value = serde_json::from_str(metadata).context("read cargo's metadata")?;
    let listed = metadata["packages"].as_array().context("cargo's metadata lists no packages")?;
    let name = |value: &Value| value["name"].as_str().map(str::to_owned).context("a package without a name");
    listed
        .iter()
        .map(|package| {
            let dependencies =
                package["dependencies"].as_array().context("a package without dependencies")?;
            let edges = dependencies.iter().map(|dependency| {
                let full = name(dependency)?;
                Ok(Edge {
                    to: short(&full).to_owned(),
                    ours: dependency["source"].is_null(),
                    test: dependency["kind"] == "dev",
                })
            });
            Ok(Package { name: short(&name(package)?).to_owned(), edges: edges.collect::<Result<_>>()? })
        })
        .collect()
}

fn short(name: &str) -> &str {
    name.strip_prefix("orderwire-").unwrap_or(name)
}

const TABLES: &str = "xtask/src/tidy/layers.rs";

fn faults(packages: &[Package]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for package in packages {
        let Some(layer) = layer_of(&package.name) else {
            faults.push(Fault::of_file(TABLES, format!("package {} is in no layer; add it", package.name)));
            continue;
        };
        for edge in &package.edges {
            let broken = if edge.ours { own_edge(package, layer, edge) } else { library_edge(package, edge) };
            faults.extend(broken.map(|text| Fault::of_file(&format!("package {}", package.name), text)));
        }
    }
    faults.extend(stale_rules(packages));
    faults
}

fn own_edge(package: &Package, layer: &Layer, edge: &Edge) -> Option<String> {
    let target = layer_of(&edge.to)?.name;
    let allowed = layer.imports.contains(&target)
        || edge.test && layer.imports_in_tests.contains(&target)
        // A crate's own tests may import it with a feature switched on.
        || edge.test && package.name == edge.to
        || EXCEPTIONS.iter().any(|exception| exception.from == package.name && exception.to == edge.to);
    let may = if layer.imports.is_empty() { "none of ours".to_owned() } else { layer.imports.join(", ") };
    (!allowed).then(|| {
        format!(
            "imports {} ({target}), but {} may import {may}: dependencies point downward only",
            edge.to, layer.name
        )
    })
}

fn library_edge(package: &Package, edge: &Edge) -> Option<String> {
    let kept = KEPT.iter().find(|kept| kept.library == edge.to);
    if let Some(kept) = kept
        && !kept.by.contains(&package.name.as_str())
        && !(edge.test && kept.free_in_tests)
    {
        return Some(format!("imports {}, kept to {}: {}", edge.to, kept.by.join(", "), kept.because));
    }
    let without = WITHOUT.iter().find(|without| {
        !edge.test
            && without.crates.contains(&package.name.as_str())
            && without.libraries.contains(&edge.to.as_str())
    });
    without.map(|without| format!("imports {}, which it does without: {}", edge.to, without.because))
}

/// Rules that speak of what is not there any more would hide the next mistake.
fn stale_rules(packages: &[Package]) -> Vec<Fault> {
    let here = |name: &str| packages.iter().any(|package| package.name == name);
    let layers = LAYERS.iter().flat_map(|layer| layer.crates);
    let kept = KEPT.iter().flat_map(|kept| kept.by);
    let without = WITHOUT.iter().flat_map(|without| without.crates);
    let mut gone: Vec<&str> = layers.chain(kept).chain(without).copied().filter(|name| !here(name)).collect();
    gone.sort_unstable();
    gone.dedup();
    let gone = gone.into_iter().map(|name| format!("names package {name}, which is not in the workspace"));

    let used = |from: &str, to: &str| {
        packages.iter().any(|package| package.name == from && package.edges.iter().any(|edge| edge.to == to))
    };
    let idle = EXCEPTIONS.iter().filter(|exception| !used(exception.from, exception.to)).map(|exception| {
        format!("exception {} → {} is not in use ({})", exception.from, exception.to, exception.because)
    });
    gone.chain(idle).map(|text| Fault::of_file(TABLES, text)).collect()
}

fn layer_of(name: &str) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.crates.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(name: &str, to: &str, ours: bool, test: bool) -> Vec<String> {
        // The whole workspace is there, so that nothing but the edge is at fault.
        let mut packages: Vec<Package> = LAYERS
            .iter()
            .flat_map(|layer| layer.crates)
            .map(|name| Package { name: (*name).to_owned(), edges: Vec::new() })
            .collect();
        let edge = |to: &str, ours, test| Edge { to: to.to_owned(), ours, test };
        for exception in EXCEPTIONS {
            let from = packages.iter_mut().find(|package| package.name == exception.from).unwrap();
            from.edges.push(edge(exception.to, true, false));
        }
        packages.iter_mut().find(|package| package.name == name).unwrap().edges.push(edge(to, ours, test));
        faults(&packages).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn edges_that_point_down_are_right() {
        for (from, to) in
            [("orderwire", "runtime"), ("runtime", "sqlite"), ("gateway", "queue"), ("sqlite", "store")]
        {
            assert_eq!(faults_of(from, to, true, false), [""; 0], "{from} → {to}");
        }
        assert_eq!(faults_of("recorder", "worker", true, false), [""; 0]);
    }

    #[test]
    fn edges_that_point_up_or_aside_are_named() {
        let wrong = [
            ("gateway", "sqlite"),
            ("gateway", "query"),
            ("gateway", "worker"),
            ("gateway", "telemetry"),
            ("queue", "store"),
            ("sqlite", "config"),
            ("types", "queue"),
            ("cli", "store"),
            ("e2e", "runtime"),
            ("xtask", "types"),
        ];
        for (from, to) in wrong {
            let faults = faults_of(from, to, true, false);
            assert_eq!(faults.len(), 1, "{from} → {to}: {faults:?}");
            assert!(faults[0].starts_with(&format!("package {from}: imports {to} ")), "{faults:?}");
        }
    }

    #[test]
    fn tests_of_a_service_may_use_the_real_engine_but_no_sibling() {
        assert_eq!(faults_of("query", "sqlite", true, true), [""; 0]);
        assert_eq!(faults_of("query", "recorder", true, true).len(), 1);
    }

    #[test]
    fn libraries_stay_with_their_owner() {
        assert_eq!(faults_of("sqlite", "rusqlite", false, false), [""; 0]);
        assert_eq!(faults_of("query", "rusqlite", false, false).len(), 1);
        assert_eq!(faults_of("query", "rusqlite", false, true).len(), 1);
        assert_eq!(faults_of("gateway", "reqwest", false, false).len(), 1);
        assert_eq!(faults_of("gateway", "reqwest", false, true), [""; 0]);
        assert_eq!(faults_of("types", "tokio", false, false).len(), 1);
        assert_eq!(faults_of("queue", "tokio", false, false), [""; 0]);
    }

    #[test]
    fn a_package_in_no_layer_and_a_rule_about_none_are_faults() {
        let stranger = Package { name: "stranger".to_owned(), edges: Vec::new() };
        let shown: Vec<String> = faults(&[stranger]).iter().map(ToString::to_string).collect();
        assert!(shown.iter().any(|fault| fault.contains("package stranger is in no layer")), "{shown:?}");
        assert!(shown.iter().any(|fault| fault.contains("names package types")), "{shown:?}");
        assert!(shown.iter().any(|fault| fault.contains("recorder → worker is not in use")), "{shown:?}");
    }

    #[test]
    fn metadata_is_read_with_kinds_and_sources() {
        let metadata = r#"{"packages":[{"name":"orderwire-cache","dependencies":[
            {"name":"orderwire-types","source":null,"kind":null},
            {"name":"moka","source":"registry+x","kind":"dev"}]}]}"#;
        let packages = packages(metadata).unwrap();
        assert_eq!(packages[0].name, "cache");
        let edges: Vec<_> = packages[0].edges.iter().map(|e| (e.to.as_str(), e.ours, e.test)).collect();
        assert_eq!(edges, [("types", true, false), ("moka", false, true)]);
    }
}
