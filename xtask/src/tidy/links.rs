//! Links inside Markdown lead somewhere: the file is there, and so is the
//! heading. Links to other hosts are not followed.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use super::Fault;

/// The faults of the links in one Markdown file.
pub(super) fn faults(root: &Path, path: &str, content: &str) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for (line, link) in links(content) {
        if let Some(text) = fault(root, path, content, &link)? {
            faults.push(Fault::at(path, line, text));
        }
    }
    Ok(faults)
}

fn fault(root: &Path, path: &str, content: &str, link: &str) -> Result<Option<String>> {
    if link.contains("://") || link.starts_with("mailto:") {
        return Ok(None);
    }
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => PathBuf::from(path),
        file => match resolve(path, file) {
            Some(target) => target,
            None => return Ok(Some(format!("link {link} leads out of the checkout"))),
        },
    };
    if !file.is_empty() && !root.join(&target).exists() {
        return Ok(Some(format!("link {link} leads nowhere: there is no {}", target.display())));
    }
    if heading.is_empty() || target.extension().is_none_or(|extension| extension != "md") {
        return Ok(None);
    }
    let there = if file.is_empty() {
        has_heading(content, heading)
    } else {
        let other = std::fs::read_to_string(root.join(&target));
        has_heading(&other.with_context(|| format!("read {}", target.display()))?, heading)
    };
    Ok((!there).then(|| format!("link {link} leads nowhere: no heading #{heading} in {}", target.display())))
}

/// The link's file relative to the root; none when it leaves the root.
fn resolve(from: &str, link: &str) -> Option<PathBuf> {
    let start = if link.starts_with('/') { PathBuf::new() } else { Path::new(from).parent()?.to_path_buf() };
    let mut target = start;
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => {
                if !target.pop() {
                    return None;
                }
            }
            Component::Normal(part) => target.push(part),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Some(target)
}

/// Every link with its line: `[text](target)` and `[name]: target`.
fn links(content: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in prose(content) {
        for (at, _) in text.match_indices("](") {
            let rest = &text[at + 2..];
            let target = rest[..rest.find(')').unwrap_or(rest.len())].split_whitespace().next();
            found.extend(target.map(|target| (line, target.trim_matches(['<', '>']).to_owned())));
        }
        let definition = text.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        let target = definition.and_then(|(_, target)| target.split_whitespace().next());
        found.extend(target.map(|target| (line, target.trim_matches(['<', '>']).to_owned())));
    }
    found
}

/// The lines that are not inside a code block, from 1, without inline code.
fn prose(content: &str) -> impl Iterator<Item = (usize, String)> {
    let mut fence: Option<&str> = None;
    content.lines().enumerate().filter_map(move |(index, line)| {
        let start = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (Some(_), _) => {}
            (None, None) => {
                // Even pieces are outside of backticks; an unclosed one hides nothing.
                let pieces: Vec<&str> = line.split('`').collect();
                let outside = |i: usize| i.is_multiple_of(2) || i + 1 == pieces.len();
                let kept: Vec<&str> = pieces
                    .iter()
                    .enumerate()
                    .map(|(i, piece)| if outside(i) { *piece } else { "" })
                    .collect();
                return Some((index + 1, kept.join("`")));
            }
        }
        None
    })
}

fn has_heading(content: &str, wanted: &str) -> bool {
    let mut fenced = false;
    content.lines().any(|line| {
        fenced ^= line.trim_start().starts_with("```");
        !fenced && line.starts_with('#') && slug(line.trim_start_matches('#')) == wanted
    })
}

/// The anchor that a heading gets: lower case, spaces as hyphens, no other
/// punctuation.
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The crate's own folder is a tree that is surely there.
    fn shown(content: &str) -> Vec<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        faults(root, "src/x.md", content).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let text = "# A (b) `c`\n[a](main.rs) ![b](../Cargo.toml \"title\") [c](#a-b-c) [d](https://x.y/z) [e](/src)\n";
        assert_eq!(shown(text), [""; 0]);
    }

    #[test]
    fn links_that_lead_nowhere_are_named_with_their_line() {
        assert_eq!(
            shown("x\n[a](gone.rs)\n"),
            ["src/x.md:2: link gone.rs leads nowhere: there is no src/gone.rs"]
        );
        assert_eq!(
            shown("[a]: gone.rs\n"),
            ["src/x.md:1: link gone.rs leads nowhere: there is no src/gone.rs"]
        );
        assert_eq!(shown("[a](#b)\n"), ["src/x.md:1: link #b leads nowhere: no heading #b in src/x.md"]);
        assert_eq!(shown("[a](../../x)\n"), ["src/x.md:1: link ../../x leads out of the checkout"]);
    }

    #[test]
    fn code_is_not_prose() {
        assert_eq!(shown("```\n[a](gone)\n# b\n```\n`[a](gone)` and ``\n"), [""; 0]);
        assert_eq!(shown("```\n# b\n```\n[a](#b)\n").len(), 1);
    }
}
