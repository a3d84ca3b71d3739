//! No value of an order can be more than the scalar that it stands in.

use orderwire_provisioner::Catalogue;
use orderwire_provisioner::catalogue::{Product, Sources};
use orderwire_provisioner::render::Context;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::catalogue::{Folder, names};

/// A template with every field of an order in every kind of scalar.
fn template() -> String {
    let fields =
        ["client", "product", "release", "environment", "archtype", "hardware", "namespace", "values.text"];
    let mut template = "apiVersion: orderwire.dev/v1\nkind: File\nmetadata: {name: f}\nspec:\n".to_owned();
    for (i, field) in fields.iter().enumerate() {
        let value = format!("{{{{ {field} }}}}");
        template.push_str(&format!(
            "  plain{i}: {value}
  single{i}: '{value}'
  double{i}: \"{value}\"
  within{i}: before {value}:after
  flow{i}: [{value}, {{key: {value}, 'other': \"{value}\"}}, a {value} b]
  literal{i}: |
    {value}
    end
  folded{i}: >-
    {value}
    end
  keys{i}:
    {value}: plain
    'k {value}': single
    \"q{value}\": double
    ? {value}?
    : explicit
"
        ));
    }
    template.push_str("last: here\n");
    template
}

fn expected(fields: &[String]) -> Value {
    let mut spec = serde_json::Map::new();
    for (i, value) in fields.iter().enumerate() {
        spec.insert(format!("plain{i}"), json!(value));
        spec.insert(format!("single{i}"), json!(value));
        spec.insert(format!("double{i}"), json!(value));
        spec.insert(format!("within{i}"), json!(format!("before {value}:after")));
        spec.insert(
            format!("flow{i}"),
            json!([value, {"key": value, "other": value}, format!("a {value} b")]),
        );
        spec.insert(format!("literal{i}"), json!(format!("{value}\nend\n")));
        spec.insert(format!("folded{i}"), json!(format!("{value} end")));
        let keys = [
            (value.clone(), "plain"),
            (format!("k {value}"), "single"),
            (format!("q{value}"), "double"),
            (format!("{value}?"), "explicit"),
        ];
        spec.insert(format!("keys{i}"), keys.into_iter().map(|(key, of)| (key, json!(of))).collect());
    }
    json!({
        "apiVersion": "orderwire.dev/v1",
        "kind": "File",
        "metadata": {"name": "f"},
        "spec": spec,
        "last": "here",
    })
}

fn context(fields: &[String]) -> Context {
    Context {
        // A client is checked where it is read; it cannot be any text.
        client: fields[0].parse().unwrap(),
        product: fields[1].clone(),
        release: fields[2].clone(),
        environment: fields[3].clone(),
        archtype: fields[4].clone(),
        hardware: fields[5].clone(),
        namespace: fields[6].clone(),
        values: json!({"text": fields[7]}),
    }
}

fn product() -> std::sync::Arc<Product> {
    let folder =
        Folder::new(&[("p/product.yaml", crate::catalogue::PRODUCT), ("p/templates/f.yaml", &template())]);
    let sources = Sources { builtin: false, folders: vec![folder.path()] };
    Catalogue::load(&sources, &names()).unwrap().get("p").unwrap().clone()
}

/// Pieces that mean something to YAML, to templates or to placeholders.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>(),
        prop::sample::select(vec![
            "\n",
            "\r\n",
            "\n\n",
            "\n  ",
            ": ",
            ":",
            " #",
            "#",
            "- ",
            "\n- ",
            "---",
            "\n---\n",
            "\n...\n",
            "'",
            "''",
            "\"",
            "\\",
            "\\n",
            "{",
            "}",
            "[",
            "]",
            ",",
            "? ",
            "|",
            ">",
            "|-\n",
            "!!",
            "!!str ",
            "!<x>",
            "&a",
            "*a",
            "%YAML 1.1\n",
            "@",
            "`",
            "~",
            "null",
            "true",
            "no",
            "0644",
            "1e3",
            ".inf",
            "<<",
            "<<: *a",
            "{{ values }}",
            "{{",
            "}}",
            "{% raw %}",
            "{% if x %}",
            "{# c #}",
            "\t",
            "\u{0}",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\u{E100}",
            "\u{E110}\u{E111}",
            "\u{F0000}",
            "kind: Evil",
            " ",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_value_arrives_unchanged_and_changes_nothing_else(
        texts in prop::collection::vec(hostile(), 7),
    ) {
        thread_local!(static PRODUCT: std::sync::Arc<Product> = product());
        let fields: Vec<String> = std::iter::once("acme".to_owned()).chain(texts).collect();
        let objects = PRODUCT.with(|product| product.render(&context(&fields))).unwrap();
        prop_assert_eq!(objects.len(), 1);
        prop_assert_eq!(&objects[0].0, &expected(&fields));
    }
}

#[test]
fn the_same_content_renders_the_same() {
    let fields: Vec<String> = (0..8).map(|i| format!("field-{i}")).collect();
    let product = product();
    assert_eq!(product.render(&context(&fields)).unwrap(), product.render(&context(&fields)).unwrap());
}
