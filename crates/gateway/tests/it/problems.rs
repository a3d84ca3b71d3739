//! Every problem type that the code gives has its page, and no page is without one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn every_problem_is_described() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/problems.md")).unwrap();
    let described: BTreeSet<String> =
        page.lines().filter_map(|line| line.strip_prefix("## ")).map(|slug| slug.trim().to_owned()).collect();
    let mut used = BTreeSet::new();
    for part in ["api", "gateway", "provisioner", "query", "runtime"] {
        scan(&root.join("crates").join(part).join("src"), &mut used);
    }
    assert!(used.contains("idempotency-conflict"), "the scan finds what it looks for: {used:?}");
    assert_eq!(used, described);
}

/// Slugs are the second argument of `Problem::new` and `Self::new` beside a
/// status, or follow `TYPE_PREFIX}`.
fn scan(folder: &Path, used: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            scan(&path, used);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("StatusCode::") {
            let after = &text[at + "StatusCode::".len()..];
            let rest = after.trim_start_matches(|c: char| c.is_ascii_uppercase() || c == '_');
            let Some(rest) = rest.strip_prefix(',') else { continue };
            let Some(rest) = rest.trim_start().strip_prefix('"') else { continue };
            insert(rest, used);
        }
        for (at, _) in text.match_indices("{TYPE_PREFIX}") {
            insert(&text[at + "{TYPE_PREFIX}".len()..], used);
        }
    }
}

fn insert(rest: &str, used: &mut BTreeSet<String>) {
    let slug: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
    if !slug.is_empty() {
        used.insert(slug);
    }
}
