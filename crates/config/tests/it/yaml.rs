//! YAML beside the configuration: products and the objects that they make.

use orderwire_config::yaml::{Node, Value, documents, read, read_with};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

const MIB: usize = 1 << 20;

fn one(text: &str) -> Node {
    let mut nodes = documents("f.yaml", text, MIB).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(nodes.len(), 1, "{nodes:?}");
    nodes.remove(0)
}

fn refused(text: &str) -> String {
    documents("f.yaml", text, MIB).expect_err("a refusal").to_string()
}

#[test]
fn documents_keep_their_spelling_and_their_places() {
    let node = one("kind: Process\nargs:\n  - \"12\"\n  -  0644\n");
    let Value::Map(entries) = &node.value else { panic!("{node:?}") };
    let keys: Vec<String> = entries.iter().map(|(key, _)| format!("{} {}", key.at, key.text)).collect();
    assert_eq!(keys, ["f.yaml:1:1 kind", "f.yaml:2:1 args"]);
    assert_eq!(node.get("kind").unwrap().at.to_string(), "f.yaml:1:7");
    let Value::List(items) = &node.get("args").unwrap().value else { panic!("{node:?}") };
    let spelled: Vec<String> = items.iter().map(|item| format!("{} {:?}", item.at, item.value)).collect();
    assert_eq!(
        spelled,
        [
            r#"f.yaml:3:5 Scalar { text: "12", plain: false }"#,
            r#"f.yaml:4:6 Scalar { text: "0644", plain: true }"#
        ]
    );
    assert_eq!((node.get("gone"), node.get("kind").unwrap().get("kind")), (None, None));
}

#[test]
fn empty_documents_are_left_out() {
    let nodes = documents("f", "---\n# nothing\n---\na: 1\n---\n---\n~\n---\n[]\n...\n", MIB).unwrap();
    let json: Vec<_> = nodes.iter().map(|node| node.to_json().unwrap()).collect();
    assert_eq!(json, [json!({"a": 1}), json!([])]);
    for nothing in ["", "\n", "# nothing\n", "---\n", "---\n---\n"] {
        assert_eq!(documents("f", nothing, MIB).unwrap(), [], "{nothing:?}");
    }
}

#[test]
fn json_has_the_types_of_the_core_schema() {
    let node = one("
plain: [true, 12, -3, 1.5, 1e3, 0x1f, null, ~, no, on, 1e3x, 2026-11-20]
quoted: ['true', \"12\", 'null']
block: |
  12
empty:
12: key
");
    let json = json!({
        "plain": [true, 12, -3, 1.5, 1000.0, 31, null, null, "no", "on", "1e3x", "2026-11-20"],
        "quoted": ["true", "12", "null"],
        "block": "12\n",
        "empty": null,
        "12": "key",
    });
    assert_eq!(node.to_json().unwrap(), json);
}

#[test]
fn json_refuses_every_number_that_would_arrive_as_another() {
    let node = one("mode: 0644\nlist:\n  - {big: 99999999999999999999, huge: -1e999}\n  - .inf\n");
    insta::assert_snapshot!(node.to_json().unwrap_err());
}

#[test]
fn every_fault_of_every_document_is_told_with_its_place() {
    insta::assert_snapshot!(refused("a: 1\na: 2\n---\nb: {c: !x 1, c: 2}\n---\n<<: {}\n"));
    assert_eq!(refused("a: [\n").lines().count(), 1);
}

#[test]
fn bounds_hold_for_all_documents_together() {
    let shown = documents("f", "a: 123456", 8).unwrap_err().to_string();
    assert_eq!(shown, "f: this text is larger than 8B");
    assert_eq!(documents("f", "a: 12345", 8).unwrap().len(), 1);

    let document = format!("[{}]\n---\n", "x,".repeat(9_998));
    assert_eq!(documents("f", &document.repeat(5), MIB).unwrap().len(), 5);
    assert!(refused(&document.repeat(6)).contains("more than 50000 values"));
    assert!(refused(&"---\n".repeat(60_000)).contains("more than 50000"));
    assert!(refused(&"- ".repeat(40)).contains("nest"));
}

#[test]
fn an_alias_counts_as_often_as_it_is_used() {
    let list: String = (0..100).map(|_| "*a, ").collect();
    let values = format!("a: &a [{}]\nb: &b [{list}]\nc: [*b, *b, *b]\n", "x, ".repeat(200));
    assert!(refused(&values).contains("more than 50000 values with aliases written out"));
    // Few values, but a long text each.
    let text = format!("a: &a {}\nb: [{list}]\n", "x".repeat(200_000));
    assert!(refused(&text).contains("more than 16 MiB of text with aliases written out"));
    assert_eq!(one("a: &a {b: [1]}\nc: *a\n").to_json().unwrap(), json!({"a": {"b": [1]}, "c": {"b": [1]}}));
    assert!(refused("a: &a 1\n---\nb: *a\n").contains("no anchor &a stands before this alias"));
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Product {
    version: String,
    #[serde(default)]
    patience: u32,
    #[serde(default)]
    share: f64,
    #[serde(default)]
    parameters: serde_json::Value,
    #[serde(default)]
    on_failure: OnFailure,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OnFailure {
    #[default]
    Rollback,
    Keep,
}

#[test]
fn a_typed_value_is_read_by_its_types() {
    let product: Product = read(
        "p.yaml",
        "version: 1.10\nshare: 0.5\non_failure: keep\nparameters: {least: 0.5, name: no, of: [1]}\n",
    )
    .unwrap();
    let parameters = json!({"least": 0.5, "name": "no", "of": [1]});
    let expected = Product {
        version: "1.10".to_owned(),
        patience: 0,
        share: 0.5,
        parameters,
        on_failure: OnFailure::Keep,
    };
    assert_eq!(product, expected);
}

#[test]
fn a_typed_value_has_every_fault_with_its_place() {
    let text = "
version: [1]
patience: 0644
share: half
on_failure: kep
rules: []
patence: 1
parameters: {default: 0644}
";
    insta::assert_snapshot!(read::<Product>("p.yaml", text).unwrap_err());
    let shown = |text: &str| read::<Product>("p.yaml", text).unwrap_err().to_string();
    assert_eq!(shown(""), "p.yaml:1:1: version is missing; add it");
    assert!(shown("- a\n").starts_with("p.yaml:1:1: expected a map"), "{}", shown("- a\n"));
    assert!(shown("version: a\n---\nversion: b\n").contains("a second document begins here"));
    assert_eq!(shown(&" ".repeat(MIB + 1)), "p.yaml: this text is larger than 1MiB");
}

#[test]
fn further_checks_are_told_together_with_other_faults() {
    let text = "version: a\nparameters:\n  type: [x]\nshape: 1\n";
    let faults = read_with::<Product>("p.yaml", text, |product, report| {
        assert_eq!(product.version, "a");
        report.fault(&["parameters", "type", "[0]"], "x is no type");
    });
    let shown = faults.unwrap_err().to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "p.yaml:3:10: parameters.type[0]: x is no type");
    assert!(lines[1].starts_with("p.yaml:4:1: shape: unknown key; did you mean share?"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever a template makes, there is an answer.
    #[test]
    fn no_text_is_a_panic(text in "([-a-z0-9:,&*!|>'\"{}\\[\\] \n#?%~<.+]|---\n|\n  |: |- |&a |\\*a){0,120}") {
        for node in documents("f", &text, 400).unwrap_or_default() {
            let _ = node.to_json();
        }
        let _ = read::<Product>("f", &text);
    }

    /// JSON is YAML: what is written as JSON is read as what it was.
    #[test]
    fn json_comes_back_as_it_was(
        strings in prop::collection::vec(any::<String>(), 0..5),
        integer in any::<i64>(),
        float in any::<f64>().prop_filter("JSON has it", |float| float.is_finite()),
        flag in any::<bool>(),
    ) {
        let json = json!({"strings": strings, "integer": integer, "float": float, "flag": [flag, null]});
        let printable = |text: &String| text.chars().all(|c| !c.is_control() && c != '\u{feff}');
        prop_assume!(strings.iter().all(printable));
        prop_assert_eq!(one(&json.to_string()).to_json().unwrap(), json);
    }
}
