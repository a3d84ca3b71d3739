//! Constructs that must not be in the code: unfinished work, tests that do not
//! run, and tests that wait for time instead of for a condition.

use super::Fault;
use super::source::{Source, is_word};

/// The comment that lets one sleep in test code pass, followed by a reason.
const SLEEP_MARKER: &str = "// tidy: sleep because ";

pub(super) fn faults(source: &Source<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let raw: Vec<&str> = source.text.lines().collect();
    for (index, (line, text)) in source.code.lines().zip(&raw).enumerate() {
        let mut fault = |what: &str| faults.push(Fault::at(source.path, index + 1, what));
        for name in ["todo", "unimplemented"] {
            if calls(line, name, "!") {
                fault(&format!("{name}! is unfinished work: finish it, or leave it out"));
            }
        }
        if calls(line, "dbg", "!") {
            fault("dbg! is for looking, not for keeping: remove it");
        }
        if ignores(line) {
            fault("an ignored test guards nothing: mend it or remove it");
        }
        if is_ignored_example(text) {
            fault("an ignored example may be wrong: let it compile (no_run) or write it as text");
        }
        if source.is_test(index) && sleeps(line) && !has_reason(&raw, index) {
            fault(&format!(
                "a test that sleeps is slow or flaky: await a condition, or say why: {SLEEP_MARKER}…"
            ));
        }
    }
    faults
}

/// Whether the line has the word `name`, and `then` right after it.
fn calls(line: &str, name: &str, then: &str) -> bool {
    words(line, name).any(|(_, after)| after.trim_start().starts_with(then))
}

fn ignores(line: &str) -> bool {
    let line: String = line.split_whitespace().collect();
    line.contains("#[ignore") || line.contains("cfg_attr(") && words(&line, "ignore").next().is_some()
}

fn is_ignored_example(text: &str) -> bool {
    let text = text.trim_start();
    let doc = text.strip_prefix("///").or_else(|| text.strip_prefix("//!"));
    let fence = doc.and_then(|doc| doc.trim_start().strip_prefix("```"));
    fence.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == "ignore"))
}

/// A free function or path called `sleep`; a method of that name is somebody's
/// own clock, and `fn sleep(` its definition.
fn sleeps(line: &str) -> bool {
    ["sleep", "sleep_until", "sleep_ms"].iter().any(|name| {
        words(line, name).any(|(before, after)| {
            let before = before.trim_end();
            after.trim_start().starts_with('(') && !before.ends_with('.') && !before.ends_with("fn")
        })
    })
}

/// Whether the line itself or the one above says why, in more than one word.
fn has_reason(raw: &[&str], index: usize) -> bool {
    let above = index.checked_sub(1).map(|above| raw[above]);
    let reason =
        |line: &str| line.split_once(SLEEP_MARKER).is_some_and(|(_, why)| why.split_whitespace().count() > 1);
    reason(raw[index]) || above.is_some_and(reason)
}

/// Every occurrence of `name` as a whole word, with what is before and after it.
fn words<'a>(line: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    line.match_indices(name).filter_map(move |(at, _)| {
        let (before, after) = (&line[..at], &line[at + name.len()..]);
        let whole =
            !before.bytes().next_back().is_some_and(is_word) && !after.bytes().next().is_some_and(is_word);
        whole.then_some((before, after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        faults(&Source::read(path, text)).into_iter().filter_map(|fault| fault.line).collect()
    }

    #[test]
    fn unfinished_work_is_named_with_its_line() {
        let text = "fn a() {\n    todo!()\n}\nfn b() { unimplemented!(\"x\") }\nfn c() { dbg!(1); }\n";
        assert_eq!(lines("src/lib.rs", text), [2, 4, 5]);
    }

    #[test]
    fn words_in_comments_strings_and_names_are_not_code() {
        let text = "// todo!()\nconst S: &str = \"dbg!(x) #[ignore]\";\nfn my_todo() {}\nmy_dbg!(1);\n";
        assert_eq!(lines("src/lib.rs", text), [0; 0]);
    }

    #[test]
    fn ignored_tests_and_examples_are_named() {
        let text =
            "#[ignore]\n#[ignore = \"slow\"]\n#[cfg_attr(unix, ignore)]\n/// ```ignore\n/// ```no_run\n";
        assert_eq!(lines("src/lib.rs", text), [1, 2, 3, 4]);
    }

    #[test]
    fn sleeps_count_in_test_code_only() {
        let text = "fn a() { std::thread::sleep(D); }\n#[cfg(test)]\nmod tests {\n    async fn b() {\n        \
                    tokio::time::sleep(D).await;\n    }\n}\n";
        assert_eq!(lines("src/lib.rs", text), [5]);
        assert_eq!(lines("tests/it/main.rs", text), [1, 5]);
    }

    #[test]
    fn a_sleep_with_a_reason_passes_and_one_without_does_not() {
        let marked = "// tidy: sleep because the other process has no event to await\nsleep(D);\n";
        assert_eq!(lines("tests/a.rs", marked), [0; 0]);
        let same_line = "sleep(D); // tidy: sleep because time itself is tested\n";
        assert_eq!(lines("tests/a.rs", same_line), [0; 0]);
        assert_eq!(lines("tests/a.rs", "// tidy: sleep because so\nsleep(D);\n"), [2]);
        assert_eq!(lines("tests/a.rs", "// tidy: sleep because of this one line\n\nsleep(D);\n"), [3]);
        assert_eq!(lines("tests/a.rs", "clock.sleep(D);\nfn sleep(d: D) {}\n"), [0; 0]);
    }
}
