use serde_json::json;

use super::*;

fn context(values: Value) -> Context {
    Context {
        client: "acme".parse().unwrap(),
        product: "shop".to_owned(),
        release: "shop".to_owned(),
        environment: "dev".to_owned(),
        archtype: String::new(),
        hardware: String::new(),
        namespace: "acme".to_owned(),
        values,
    }
}

const HEAD: &str = "apiVersion: orderwire.dev/v1\nkind: File\nmetadata: {name: f}\n";

/// The object that a template with these lines under a sound head makes.
fn object(body: &str, values: Value) -> Result<Value, RenderError> {
    let sources = BTreeMap::from([("templates/f.yaml".to_owned(), format!("{HEAD}{body}"))]);
    let templates = Templates::new(sources).map_err(|mut errors| errors.remove(0))?;
    templates.render(&["File".to_owned()], &context(values)).map(|mut objects| objects.remove(0).manifest.0)
}

#[test]
fn a_value_alone_keeps_its_type_and_in_quotes_is_text() {
    let values = json!({"n": 9_007_199_254_740_993_u64, "f": 1.5, "t": true, "s": "no", "z": null,
        "list": [1, "a: b", {"x": null}]});
    let body = "n: {{ values.n }}\nf: {{ values.f }}\nt: {{ values.t }}\ns: {{ values.s }}\nz: {{ values.z }}\n\
                list: {{ values.list }}\nq: \"{{ values.n }}\"\nlong: at {{ values.n }} {{ values.t }}\n\
                flow: [{{ values.n }}, '{{ values.t }}']\n";
    let object = object(body, values.clone()).unwrap();
    for name in ["n", "f", "t", "s", "z", "list"] {
        assert_eq!(object[name], values[name], "{name}");
    }
    assert_eq!(object["q"], "9007199254740993");
    assert_eq!(object["long"], "at 9007199254740993 true");
    assert_eq!(object["flow"], json!([9_007_199_254_740_993_u64, "true"]));
}

#[test]
fn blocks_and_macros_are_text_and_never_structure() {
    let body = "{% macro line(x) %}a: {{ x }}\nb: [{{ x }}]{% endmacro %}\n\
                {% set block %}x: {{ values.evil }}{% endset %}\n\
                block: {{ block }}\nmacro: {{ line(values.evil) }}\ntwice: \"{{ block ~ block }}\"\n\
                list: {{ [block, 1] }}\nescaped: {{ block|e }}\njson: {{ {\"a\": block}|tojson }}\n";
    let evil = "1\nkind: Evil\n\"<b>\" {{ 1 }}";
    let object = object(body, json!({"evil": evil})).unwrap();
    assert_eq!(object["block"], format!("x: {evil}"));
    assert_eq!(object["macro"], format!("a: {evil}\nb: [{evil}]"));
    assert_eq!(object["twice"], format!("x: {evil}x: {evil}"));
    assert_eq!(object["list"], json!([format!("x: {evil}"), 1]));
    assert_eq!(object["escaped"], "x: 1\nkind: Evil\n&quot;&lt;b&gt;&quot; {{ 1 }}");
    assert_eq!(object["json"], json!({"a": format!("x: {evil}")}).to_string());
    assert_eq!(object.as_object().unwrap().len(), 9);
}

#[test]
fn templates_share_macros_and_see_nothing_outside_the_product() {
    let helper = "{% macro greet(name) %}Hello {{ name }}{% endmacro %}\n";
    let main = "{% from \"templates/_texts.yaml\" import greet %}\n";
    let sources = BTreeMap::from([
        ("templates/_texts.yaml".to_owned(), helper.to_owned()),
        ("templates/f.yaml".to_owned(), format!("{main}{HEAD}a: {{{{ greet(values.evil) }}}}\n")),
    ]);
    let templates = Templates::new(sources).unwrap();
    let evil = json!({"evil": "x\nkind: Evil"});
    let objects = templates.render(&["File".to_owned()], &context(evil)).unwrap();
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0].manifest.0["a"], "Hello x\nkind: Evil");
    for name in ["/etc/hostname", "../product.yaml", "product.yaml"] {
        let error = object(&format!("{{% include \"{name}\" %}}\n"), json!({})).unwrap_err();
        assert!(error.detail.contains("template not found"), "{error}");
    }
}

#[test]
fn no_filter_and_no_switch_prints_anything_raw() {
    let evil = "1\nkind: Evil";
    let values = json!({"evil": evil, "list": [evil]});
    for expression in [
        "values.evil|string",
        "values.list|join('')",
        "values.evil|trim|indent(0)",
        "values.evil|replace('zzz', '')",
        "values.evil|default('')",
        "values.list|first",
    ] {
        let body = format!(
            "a: {{{{ {expression} }}}}\n{{% autoescape false %}}b: {{{{ {expression} }}}}{{% endautoescape %}}\n"
        );
        let object = object(&body, values.clone()).unwrap_or_else(|error| panic!("{expression}: {error}"));
        assert_eq!((&object["a"], &object["b"]), (&json!(evil), &json!(evil)), "{expression}");
        assert_eq!(object["kind"], "File");
    }
    for expression in ["values.evil|safe", "values|pprint", "debug()"] {
        let error = object(&format!("a: {{{{ {expression} }}}}\n"), values.clone()).unwrap_err();
        assert!(error.detail.contains("unknown") || error.detail.contains("exist"), "{error}");
    }
}

#[test]
fn a_value_outside_a_scalar_is_an_error_with_its_line() {
    let rows = [
        ("a: !{{ values.x }} b\n", 4, "tag"),
        ("a: &{{ values.x }} b\n", 4, "not in a tag, anchor or directive"),
        ("a: *{{ values.x }}\n", 4, "anchor"),
        ("a: in {{ values.z }}\n", 4, "null"),
        ("a: \"{{ values.list }}\"\n", 4, "a list or map"),
        ("{{ values.x }}: 1\n\"{{ values.x }}\": 2\n", 5, "given twice"),
        ("a: 0644\n", 4, "0644"),
        ("a: [1\n", 0, "not YAML"),
        ("a: {{ values.missing }}\n", 4, "does not exist"),
        ("a: {{ values.x | nothing }}\n", 4, "unknown filter"),
        ("a: {{ values.x[ }}\n", 4, "syntax"),
        ("a: {{ values.x|first|e }}{% set b %}{{ values.x }}{% endset %}{{ b[3:] }}\n", 0, "cut a block"),
    ];
    for (body, line, needle) in rows {
        let error = object(body, json!({"x": "text", "z": null, "list": [1]})).unwrap_err();
        assert!(error.detail.contains(needle), "{body:?}: {error}");
        assert_eq!(error.template.as_deref(), Some("templates/f.yaml"), "{body:?}");
        if line > 0 {
            assert_eq!(error.line, line, "{body:?}: {error}");
        }
    }
    let commented = object("a: 1 # {{ values.x }}\n", json!({"x": "y\nkind: Evil"})).unwrap();
    assert_eq!(commented["a"], 1);
}

#[test]
fn work_and_size_are_bounded() {
    let loops = "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}a: 1\n";
    assert!(object(loops, json!({})).unwrap_err().detail.contains("too many steps"));
    let long = "a:\n{% for i in range(20000) %}\n- {{ values.x }}\n{% endfor %}\n";
    assert!(object(long, json!({"x": "y"})).unwrap_err().detail.contains("1 MiB"));
    let grows = "a: [{{ values.x }}, {{ values.x }}, {{ values.x }}]\n";
    assert!(object(grows, json!({"x": "y".repeat(500_000)})).unwrap_err().detail.contains("1 MiB"));
    let captured = "{% set b %}{% for i in range(20000) %}{{ values.x }}{% endfor %}{% endset %}a: 1\n";
    assert!(object(captured, json!({"x": "y".repeat(10_000)})).unwrap_err().detail.contains("16 MiB"));
    let mut doubling = "{% set b0 = values.x %}\n".to_owned();
    for i in 0..31 {
        doubling.push_str(&format!("{{% set b{} %}}{{{{ b{i} }}}}{{{{ b{i} }}}}{{% endset %}}\n", i + 1));
    }
    doubling.push_str("a: {{ b31 }}\n");
    assert!(object(&doubling, json!({"x": "y"})).unwrap_err().detail.contains("1 MiB"));
}

#[test]
fn objects_stay_what_the_product_declares() {
    let rows = [
        ("just text", "must be an object"),
        ("kind: File\nmetadata: {name: a}", "apiVersion is missing"),
        ("apiVersion: v1\nmetadata: {name: a}", "kind is missing"),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: a}", "\"Secret\" is not one"),
        ("apiVersion: v1\nkind: File\nmetadata: {name: A_b}", "is not valid"),
        ("apiVersion: v1\nkind: File", "metadata.name of the File is missing"),
        (
            "apiVersion: v1\nkind: File\nmetadata: {name: a, namespace: other}",
            "must be the release's own, acme",
        ),
        (
            "apiVersion: v1\nkind: File\nmetadata: {name: a}\n---\napiVersion: v1\nkind: File\nmetadata: {name: a}",
            "a File a already",
        ),
        ("# nothing", "makes no object"),
    ];
    for (text, needle) in rows {
        let sources = BTreeMap::from([("templates/f.yaml".to_owned(), text.to_owned())]);
        let templates = Templates::new(sources).unwrap();
        let error = templates.render(&["File".to_owned()], &context(json!({}))).unwrap_err();
        assert!(error.detail.contains(needle), "{text:?}: {error}");
    }
    let many = "{% for i in range(201) %}\n---\napiVersion: v1\nkind: File\nmetadata: {name: \"f{{ i }}\"}\n{% endfor %}\n";
    let sources = BTreeMap::from([("templates/f.yaml".to_owned(), many.to_owned())]);
    let error =
        Templates::new(sources).unwrap().render(&["File".to_owned()], &context(json!({}))).unwrap_err();
    assert!(error.detail.contains("at most 200"), "{error}");
}

#[test]
fn no_value_makes_much_of_little() {
    let long = "a".repeat(32_000);
    let list: Vec<&str> = vec!["a"; 2_000];
    let values = json!({"n": 100_000_000_000_u64, "x": long, "y": long, "list": list, "lines": "a\nb",
        "map": {"width": 100_000_000_000_u64}});
    let rows = [
        ("values.lines | indent(values.n) | length", "the filter indent would make more than 1 MiB"),
        ("values.lines | indent(width=values.n) | length", "the filter indent would make"),
        ("values.lines | indent(-values.n) | length", "the filter indent would make"),
        ("values.x | replace('a', values.y) | length", "the filter replace would make"),
        ("values.x | replace('', values.y) | length", "the filter replace would make"),
        ("values.list | join(values.x) | length", "the filter join would make"),
        ("values.list | join(d=values.x) | length", "the filter join would make"),
        ("1.5 | round(values.n)", "the filter round would make"),
        ("1.5 | round(precision=values.n)", "the filter round would make"),
        ("values.list | map('replace', 'a', values.x) | list | length", "32 MiB"),
        ("values.list | map('replace', '', values.x ~ values.x) | map('length') | join", "32 MiB"),
        ("range(values.n) | list | length", "range takes numbers"),
        ("range(0, 1000000) | list | length", "too many elements"),
        ("values.n | times(values.n)", "64 bits"),
        ("values.x | times(2)", "only numbers"),
        ("values.list | batch(values.n, 0)", "unknown filter"),
        ("values.list | slice(values.n, 0)", "unknown filter"),
        ("'%1000000000d' | format(1)", "unknown filter"),
        ("values.x | center(values.n)", "unknown filter"),
        ("namespace(a=1)", "not callable"),
        ("values.x * 2", "no `*`"),
        ("values.list * values.n", "no `*`"),
    ];
    for (expression, needle) in rows {
        let error = object(&format!("a: {{{{ {expression} }}}}\n"), values.clone()).unwrap_err();
        assert!(error.detail.contains(needle), "{expression}: {error}");
        assert_eq!(error.line, 4, "{expression}: {error}");
    }
    let work = "{% for a in values.list %}{% for b in values.list %}{% if values.x|upper %}{% endif %}\
                {% endfor %}{% endfor %}a: 1\n";
    assert!(object(work, values).unwrap_err().detail.contains("32 MiB"));
}

#[test]
fn filters_make_what_they_always_made() {
    let values = json!({"x": "a\nb", "list": ["b", "a"], "n": 3, "f": 1.25});
    let rows = [
        ("values.x | indent(2)", json!("a\n  b")),
        ("values.x | indent(width=2, first=true)", json!("  a\n  b")),
        ("values.x | replace('b', 'cc')", json!("a\ncc")),
        ("values.list | join(', ')", json!("b, a")),
        ("values.list | sort | first | upper", json!("A")),
        ("values.list | map('replace', 'a', 'c') | list", json!(["b", "c"])),
        ("values.list | select('eq', 'a') | list", json!(["a"])),
        ("values.f | round(1)", json!(1.2)),
        ("values.n | times(1000)", json!(3_000)),
        ("values.f | times(2)", json!(2.5)),
        ("values.missing | default(100000)", json!(100_000)),
        ("range(values.n) | list", json!([0, 1, 2])),
        ("[1, 2] | sum", json!(3)),
    ];
    for (expression, expected) in rows {
        let made = object(&format!("a: {{{{ {expression} }}}}\n"), values.clone());
        assert_eq!(
            made.unwrap_or_else(|error| panic!("{expression}: {error}"))["a"],
            expected,
            "{expression}"
        );
    }
}
