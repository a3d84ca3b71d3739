//! Rules for every text file: no white space at the end of a line, no tabs in
//! Rust, names that every file system can hold.

use super::Fault;

/// Files whose bytes are another program's output, compared as they are.
fn is_recorded(path: &str) -> bool {
    path.ends_with(".snap") || path.contains("/fixtures/") || path.ends_with(".trycmd")
}

pub(super) fn faults(path: &str, content: &str) -> Vec<Fault> {
    if content.contains('\0') || is_recorded(path) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (index, line) in content.split('\n').enumerate() {
        if line.ends_with([' ', '\t', '\r']) {
            faults.push(Fault::at(path, index + 1, "white space at the end of the line: remove it"));
        }
        if path.ends_with(".rs") && line.contains('\t') {
            faults.push(Fault::at(path, index + 1, "a tab: indent with spaces, write \\t in strings"));
        }
    }
    if !content.is_empty() && !content.ends_with('\n') {
        faults.push(Fault::of_file(path, "no newline at the end of the file: add one"));
    }
    faults
}

pub(super) fn name_faults(path: &str) -> Option<Fault> {
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && !br#"\:*?"<>|"#.contains(&byte));
    (!plain).then(|| Fault::of_file(path, "a file name of other than plain ASCII characters: rename it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &str, content: &str) -> Vec<String> {
        faults(path, content).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn white_space_at_the_end_is_named_with_its_line() {
        let expected = ["a.md:2: white space at the end of the line: remove it"];
        assert_eq!(shown("a.md", "a\nb \nc\n"), expected);
        assert_eq!(shown("a.md", "a\nb\t\nc\n"), expected);
        assert_eq!(shown("a.md", "a\nb\r\nc\n"), expected);
        assert_eq!(shown("a.md", "a\nb\nc\n"), [""; 0]);
    }

    #[test]
    fn tabs_are_a_fault_in_rust_only() {
        assert_eq!(shown("a.rs", "a\tb\n").len(), 1);
        assert_eq!(shown("a.tsv", "a\tb\n"), [""; 0]);
    }

    #[test]
    fn a_file_ends_with_a_newline() {
        assert_eq!(shown("a.md", "a"), ["a.md: no newline at the end of the file: add one"]);
        assert_eq!(shown("a.md", ""), [""; 0]);
    }

    #[test]
    fn recorded_and_binary_files_are_left_alone() {
        assert_eq!(shown("crates/a/tests/x.snap", "a \n"), [""; 0]);
        assert_eq!(shown("a.bin", "a \0"), [""; 0]);
    }

    #[test]
    fn names_are_plain() {
        assert!(name_faults("docs/a-b_c.1.md").is_none());
        assert!(name_faults("docs/caf\u{e9}.md").is_some());
        assert!(name_faults("docs/a b.md").is_some());
    }
}
