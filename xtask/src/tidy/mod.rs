//! `cargo xtask tidy`: the rules that no compiler checks. Each fault names its
//! file and line and says what to do.

mod bans;
mod edges;
mod layers;
mod length;
mod links;
mod migrations;
mod source;
mod text;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{generate, shell};
use source::Source;

/// One rule broken at one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fault {
    path: String,
    /// From 1; none when the whole file is meant.
    line: Option<usize>,
    text: String,
}

/// Checks every rule and prints every fault together.
pub(crate) fn run() -> Result<()> {
    let root = shell::root();
    let files = files(&root)?;
    let mut faults =
        edges::check(&shell::output(&mut shell::cargo(["metadata", "--format-version=1", "--no-deps"]))?)?;
    faults.extend(generate::stale(&root)?);

    let (mut lengths, mut steps) = (Vec::new(), Vec::new());
    for path in &files {
        faults.extend(text::name_faults(path));
        let bytes = std::fs::read(root.join(path)).with_context(|| format!("read {path}"))?;
        // What is not UTF-8 is an image or the like, and has no lines.
        let Ok(content) = String::from_utf8(bytes) else { continue };
        faults.extend(text::faults(path, &content));
        if path.ends_with(".rs") {
            let source = Source::read(path, &content);
            faults.extend(bans::faults(&source));
            lengths.push((path.clone(), source.own_lines()));
        }
        if path.ends_with(".md") {
            faults.extend(links::faults(&root, path, &content)?);
        }
        if migrations::is_step(path) {
            steps.push((path.clone(), content));
        }
    }
    let ratchet =
        std::fs::read_to_string(root.join(length::RATCHET)).context("read the list of long files")?;
    faults.extend(length::faults(&lengths, &ratchet));

    faults.extend(migrations::faults(&steps));

    faults.sort();
    for fault in &faults {
        eprintln!("{fault}");
    }
    match faults.len() {
        0 => {
            eprintln!("{} files, no fault", files.len());
            Ok(())
        }
        1 => bail!("1 fault"),
        n => bail!("{n} faults"),
    }
}

/// Every file that is committed or would be: what git tracks, and what it does
/// not ignore.
fn files(root: &Path) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.current_dir(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "--deduplicate",
    ]);
    let listed = shell::output(&mut git)?;
    let mut files: Vec<String> = listed.split_terminator('\0').map(str::to_owned).collect();
    // Deleted, but not yet in the index; and no links, which may lead anywhere.
    files.retain(|path| root.join(path).symlink_metadata().is_ok_and(|meta| meta.is_file()));
    Ok(files)
}

impl Fault {
    fn at(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(line), text: text.into() }
    }

    pub(crate) fn of_file(path: &str, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, text: text.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.text),
            None => write!(f, "{}: {}", self.path, self.text),
        }
    }
}

/// Whether the whole file is test code: a tests folder, a bench, or a test
/// module in a file of its own.
fn is_test_path(path: &str) -> bool {
    let path = PathBuf::from(path);
    let folder = |name: &str| path.parent().is_some_and(|parent| parent.iter().any(|part| part == name));
    folder("tests") || folder("benches") || path.file_name().is_some_and(|name| name == "tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_paths_are_told_from_others() {
        for path in
            ["crates/a/tests/it/main.rs", "tests/e2e/src/lib.rs", "crates/a/src/x/tests.rs", "a/benches/b.rs"]
        {
            assert!(is_test_path(path), "{path}");
        }
        for path in ["crates/a/src/lib.rs", "crates/a/src/latest.rs", "xtask/src/test.rs"] {
            assert!(!is_test_path(path), "{path}");
        }
    }

    #[test]
    fn a_fault_names_its_place() {
        assert_eq!(Fault::at("a.rs", 3, "no").to_string(), "a.rs:3: no");
        assert_eq!(Fault::of_file("a.rs", "no").to_string(), "a.rs: no");
    }
}
