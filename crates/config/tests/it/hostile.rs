//! Files that mean harm, and spellings that mean different things to
//! different readers of YAML.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::load;

/// Loads and expects a refusal within a time that only a bomb would exceed.
fn refused(yaml: &str) -> String {
    let begin = Instant::now();
    let shown = load(yaml).expect_err("a refusal");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    shown
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..20 {
        let last = i - 1;
        yaml.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{last}"); 10].join(", ")));
    }
    let shown = refused(&yaml);
    assert!(shown.contains("more than 50000 values with aliases written out"), "{shown}");
}

#[test]
fn an_alias_into_itself_is_refused() {
    let shown = refused("queues: &q\n  a: *q\n");
    assert_eq!(shown, "orderwire.yaml:2:6: this alias stands inside its own anchor; write the value out");
    let shown = refused("queues: *q\n");
    assert_eq!(shown, "orderwire.yaml:1:9: no anchor &q stands before this alias; write the value out");
}

#[test]
fn an_honest_alias_works() {
    let yaml = "queues:\n  a: &a {types: [a.b], attempts: 3}\n  b: *a\n";
    let queues = load(yaml).unwrap().queue_definitions();
    let attempts: Vec<u32> = queues.iter().skip(5).map(|(_, def)| def.attempts).collect();
    assert_eq!(attempts, [3, 3]);
}

#[test]
fn deep_nesting_is_refused() {
    for yaml in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000)] {
        let shown = refused(&yaml);
        assert!(shown.contains("nest") || shown.contains("recursion") || shown.contains("depth"), "{shown}");
    }
    let aliases: String = (1..40).map(|i| format!("a{i}: &a{i} [[*a{}]]\n", i - 1)).collect();
    let shown = refused(&format!("a0: &a0 x\n{aliases}"));
    assert!(shown.contains("nested deeper than 32 levels with aliases written out"), "{shown}");
}

#[test]
fn a_large_file_is_refused() {
    let shown = refused(&format!("# {}\n", "x".repeat(1 << 20)));
    assert_eq!(shown, "orderwire.yaml: the file is larger than 1 MiB");
    let many: String = (0..60_000).map(|i| format!("k{i}:\n")).collect();
    assert!(refused(&many).contains("more than 50000 values"));
}

#[test]
fn a_second_document_a_tag_and_a_merge_key_are_refused() {
    assert!(refused("data: a\n---\ndata: b\n").contains("a second document begins here"));
    assert!(refused("data: !secret a\n").contains("the tag !secret is not supported; remove it"));
    assert!(
        refused("queues:\n  a: &a {types: [x]}\n  b:\n    <<: *a\n").contains("merge keys are not supported")
    );
    assert!(refused("? [a, b]\n: c\n").contains("a key must be plain text"));
}

/// What `0644`, `1e3`, `1_000`, `0x10`, `0o17` are worth differs between
/// readers of YAML, so no number is spelled like that here.
#[test]
fn numbers_are_plain_decimals() {
    for text in
        ["0644", "1e3", "1_000", "0x10", "0o17", "1.0", "+5", ".5", "1:30", "010", "\"5\"", "yes", "", "inf"]
    {
        let result = load(format!("limits: {{lease_max: {text}}}\n"));
        if text.is_empty() {
            assert_eq!(result.unwrap_err().lines().count(), 1);
            continue;
        }
        let shown = result.unwrap_err();
        assert!(shown.contains("limits.lease_max: expected a whole number"), "{text}: {shown}");
    }
    for text in ["08MiB", "8MB", "8 mib", "1e3", "-1", "true", "99999999999TiB"] {
        let shown = load(format!("cache: {{bytes: {text}}}\n")).unwrap_err();
        assert!(shown.contains("a size such as 65536, 64KiB, 8MiB or 1GiB"), "{text}: {shown}");
    }
    assert_eq!(load("cache: {bytes: 1048576}").unwrap(), load("cache: {bytes: 1MiB}").unwrap());
    let shown = load("limits: {lease_max: 99999999999999999999}").unwrap_err();
    assert!(shown.contains("out of range"), "{shown}");
}

/// The Norway problem: `no` is a word wherever a word is expected.
#[test]
fn words_stay_words_and_booleans_are_true_or_false() {
    let yaml = "
datasets:
  no:
    fields: [{name: yes, type: text, unit: 0644}, {name: off, type: float, description: 1.10}]
views:
  on: {path: /y, dataset: no, columns: [yes, off], read: public, clients: [no, 0755, 1e3, true]}
";
    let config = load(yaml).unwrap();
    let (name, def) = config.datasets.first_key_value().unwrap();
    assert_eq!(name.as_str(), "no");
    assert_eq!(def.fields[0].unit.as_deref(), Some("0644"));
    assert_eq!(def.fields[1].description.as_deref(), Some("1.10"));
    let clients = serde_json::to_value(config.views["on"].public_clients()).unwrap();
    assert_eq!(clients, serde_json::json!(["no", "0755", "1e3", "true"]));
    for text in ["yes", "on", "True", "1", "'true'", "y"] {
        let shown = load(format!("datasets: {{a: {{fields: [{{name: a, type: text, required: {text}}}]}}}}"))
            .unwrap_err();
        assert!(shown.contains("datasets.a.fields[0].required: expected true or false"), "{text}: {shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is in a file, there is an answer.
    #[test]
    fn no_file_is_a_panic(text in "[-a-z0-9:,&*!|>'\"{}\\[\\] \n#?%~<]{0,200}") {
        let _ = load(text);
    }

    #[test]
    fn no_section_is_a_panic(key in "(listen|data|store|queues|datasets|views|limits|views: \\{a|queues: \\{a)",
                             value in "[-a-z0-9:,{}\\[\\]~ ]{0,60}") {
        let _ = load(format!("{key}: {value}"));
    }
}
