//! Every figure that the code counts is described, with its labels, and nothing
//! is described that no code counts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::file;

/// Names, and the labels of each.
type Figures = BTreeMap<String, BTreeSet<String>>;

#[test]
fn every_figure_is_described() {
    let mut counted = Figures::new();
    scan(&file("crates"), &mut counted);
    assert!(counted.contains_key("orderwire_http_requests_total"), "the scan finds something: {counted:?}");
    assert_eq!(described(&std::fs::read_to_string(file("docs/observability.md")).unwrap()), counted);
}

/// The rows of the table: | `name` | kind | labels | meaning |.
fn described(page: &str) -> Figures {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `orderwire_"));
    rows.map(|row| {
        let mut cells = row.split('|');
        let name = cells.next().unwrap().trim().trim_end_matches('`');
        let labels = cells.nth(1).unwrap().split('`').skip(1).step_by(2).map(str::to_owned);
        (format!("orderwire_{name}"), labels.collect())
    })
    .collect()
}

/// The calls of the macros in the sources of every crate, tests aside.
fn scan(folder: &Path, found: &mut Figures) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // `crates/X/tests` and `crates/X/examples` count nothing for anybody.
            if path.parent() == Some(&file("crates")) {
                scan(&path.join("src"), found);
            } else {
                scan(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap();
            for (at, call) in ["counter!(", "gauge!(", "histogram!("]
                .iter()
                .flat_map(|call| text.match_indices(call))
                .filter(|(at, _)| !text[..*at].ends_with("describe_"))
            {
                // Up to the end of the call, nested ones included.
                let arguments = &text[at + call.len()..];
                let mut depth = 1;
                let end = arguments.find(|c: char| {
                    depth += i32::from(c == '(') - i32::from(c == ')');
                    depth == 0
                });
                let arguments = &arguments[..end.unwrap()];
                let mut quoted = arguments.split('"').skip(1).step_by(2);
                let name = quoted.next().unwrap_or_else(|| panic!("{}: {arguments}", path.display()));
                // What stands before each arrow.
                let (labels, _) = arguments.rsplit_once("=>").unwrap_or_default();
                let labels = labels.split("=>").filter_map(|before| {
                    before.trim_end().strip_suffix('"').and_then(|before| before.rsplit('"').next())
                });
                found.entry(name.to_owned()).or_default().extend(labels.map(str::to_owned));
            }
        }
    }
}
