//! No file grows beyond what one can hold in mind. Files that are longer for a
//! while stand in a list that only shrinks.

use std::collections::BTreeMap;

use super::Fault;

/// The list: one `path lines` a line, `#` begins a comment.
pub(super) const RATCHET: &str = "xtask/long-files.txt";

/// Lines that a file may have, test code aside.
const LIMIT: usize = 500;

/// The faults of these files (path and lines without test code).
pub(super) fn faults(files: &[(String, usize)], ratchet: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut allowed = BTreeMap::new();
    for (index, line) in ratchet.lines().enumerate() {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        let parsed = entry
            .rsplit_once(' ')
            .and_then(|(path, lines)| Some((path.trim(), lines.parse::<usize>().ok()?)));
        let Some((path, lines)) = parsed else {
            faults.push(Fault::at(
                RATCHET,
                index + 1,
                format!("{entry:?} is not a path and a number of lines"),
            ));
            continue;
        };
        let length = files.iter().find(|(name, _)| name == path).map(|(_, length)| *length);
        let complaint = match length {
            None => Some(format!("{path} is not there any more: remove the entry")),
            Some(length) if length <= LIMIT => {
                Some(format!("{path} is down to {length} lines: remove the entry"))
            }
            Some(length) if length < lines => {
                Some(format!("{path} is down to {length} lines: lower the entry"))
            }
            Some(_) => None,
        };
        faults.extend(complaint.map(|text| Fault::at(RATCHET, index + 1, text)));
        allowed.insert(path, lines);
    }
    for (path, length) in files {
        match allowed.get(path.as_str()) {
            Some(lines) if length > lines => faults.push(Fault::of_file(
                path,
                format!("{length} lines without tests; it was {lines} and must not grow: split it"),
            )),
            None if *length > LIMIT => faults.push(Fault::of_file(
                path,
                format!("{length} lines without tests, more than {LIMIT}: split it along what it does"),
            )),
            _ => {}
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(length: usize, ratchet: &str) -> Vec<String> {
        faults(&[("a.rs".to_owned(), length)], ratchet).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_long_file_is_a_fault_and_one_at_the_limit_is_not() {
        assert_eq!(judge(500, ""), [""; 0]);
        assert_eq!(
            judge(501, ""),
            ["a.rs: 501 lines without tests, more than 500: split it along what it does"]
        );
    }

    #[test]
    fn the_list_only_shrinks() {
        let list = "# why\na.rs 600 # because\n";
        assert_eq!(judge(600, list), [""; 0]);
        assert_eq!(
            judge(601, list),
            ["a.rs: 601 lines without tests; it was 600 and must not grow: split it"]
        );
        assert_eq!(judge(599, list), ["xtask/long-files.txt:2: a.rs is down to 599 lines: lower the entry"]);
        assert_eq!(judge(500, list), ["xtask/long-files.txt:2: a.rs is down to 500 lines: remove the entry"]);
    }

    #[test]
    fn an_entry_about_nothing_is_a_fault() {
        assert_eq!(
            judge(1, "b.rs 600\n"),
            ["xtask/long-files.txt:1: b.rs is not there any more: remove the entry"]
        );
        assert_eq!(
            judge(1, "b.rs\n"),
            ["xtask/long-files.txt:1: \"b.rs\" is not a path and a number of lines"]
        );
    }
}
