//! What is wrong with rules is found before any event comes.

use orderwire_emitter::faults;

use crate::rules::{one_rule, quoted};

fn found(rest: &str) -> Vec<String> {
    let shown = faults(&one_rule(rest))
        .into_iter()
        .map(|fault| format!("{}: {}", fault.path.join("."), fault.detail));
    shown.collect()
}

#[test]
fn a_condition_that_cannot_work_is_refused() {
    for (condition, said) in [
        ("event.data.value >", "this cannot be read: "),
        ("event.data.value = 3", "this cannot be read: "),
        ("value > 90", "value is not known; expressions speak of event, for example event.data.value"),
        ("event.data.value > limit", "limit is not known"),
        ("{{ event.data.value > 90 }}", "write it without {{ and }}"),
        ("0 < event.data.value < 9", "comparisons are not chained; write a < b and b < c"),
        ("now() > 3", "now is a function, and rules have none"),
        ("event.data.name.startswith('x')", "startswith is a method, and values have none"),
        ("event.data.name | shout", "there is no filter shout; there are abs, attr, "),
        ("event.data.name is big", "there is no test big; there are "),
        ("range(3)", "range is a function"),
        ("", "this cannot be read"),
    ] {
        let shown = found(&format!("    when: {}\n    emit: [{{type: out.x}}]\n", quoted(condition)));
        assert_eq!(shown.len(), 1, "{condition}: {shown:?}");
        assert!(shown[0].starts_with("rules.r.when: ") && shown[0].contains(said), "{condition}: {shown:?}");
    }
}

#[test]
fn a_template_that_cannot_work_is_refused_at_its_place() {
    let rest = r#"    emit:
      - type: out.x
        client: "{{ client }}"
        key: "{{ event.data.a"
        data:
          fine: ["{{ event.data.b }}", "plain } text"]
          wrong: [1, {deep: "{% if event.data.a %}x{% endif %}"}]
          "{{ event.data.name }}": 1
          text: "a\nb {{ event.data.c | shout }}"
      - {type: out.y, client: "no such client", key: "", data: "{{ event.data }}"}
"#;
    let shown = found(rest);
    let wanted = [
        ("rules.r.emit.[0].client: ", "client is not known"),
        ("rules.r.emit.[0].key: ", "this cannot be read"),
        ("rules.r.emit.[0].data.text: ", "line 2: there is no filter shout"),
        ("rules.r.emit.[0].data.wrong.[1].deep: ", "blocks ({% … %}) are not taken"),
        ("rules.r.emit.[0].data.{{ event.data.name }}: ", "is no template"),
        ("rules.r.emit.[1].client: ", "client \"no such client\" is not valid"),
        ("rules.r.emit.[1].key: ", "a key is not empty"),
    ];
    for (place, part) in wanted {
        let count = shown.iter().filter(|line| line.starts_with(place) && line.contains(part)).count();
        assert_eq!(count, 1, "{place} {part}: {shown:#?}");
    }
    assert_eq!(shown.len(), wanted.len(), "each once: {shown:#?}");
}

#[test]
fn an_expression_is_no_longer_than_can_be_overseen() {
    for sum in [vec!["1"; 20_000].join("+"), "(".repeat(400_000), "-".repeat(400_000), "[".repeat(999)] {
        let shown = found(&format!(
            "    when: {sum:?}\n    emit: [{{type: out.x, data: {:?}}}]\n",
            format!("{{{{{sum}}}}}")
        ));
        assert_eq!(shown.len(), 2, "{shown:?}");
    }
    let sum = vec!["event.data.a"; 140].join(" + ");
    assert_eq!(found(&format!("    when: {sum}\n    emit: [{{type: out.x}}]\n")), [""; 0]);
}
