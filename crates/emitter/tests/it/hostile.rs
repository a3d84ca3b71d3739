//! Whoever sends an event chooses its values, and nothing else.

use orderwire_types::Event;

use crate::rules::{event, made, one_rule, tried, value};

#[test]
fn a_value_is_never_structure() {
    let data = r#"{"x":"\"}, \"admin\": true, \"y\": \"","t":"{{ event.client }}","u":"{% raw %}\n- a: b","n":"a\u0000b"}"#;
    assert_eq!(made("say {{ event.data.x }}", data).unwrap(), r#""say \"}, \"admin\": true, \"y\": \"""#);
    assert_eq!(value("event.data.x", data).unwrap(), r#""\"}, \"admin\": true, \"y\": \"""#);
    assert_eq!(value("event.data.t", data).unwrap(), r#""{{ event.client }}""#);
    assert_eq!(made("{{ event.data.u }}!", data).unwrap(), r#""{% raw %}\n- a: b!""#);
    assert_eq!(value("event.data.n", data).unwrap(), r#""a\u0000b""#);
    assert_eq!(value("event.data['__class__'] is defined", data).unwrap(), "false");
}

#[test]
fn half_a_character_passes_through_and_is_no_text() {
    let data = r#"{"x":"\ud800"}"#;
    assert_eq!(value("event.data.x", data).unwrap(), r#""\ud800""#);
    assert!(made("a{{ event.data.x }}", data).unwrap_err().contains("cannot be part of a text"));
}

#[test]
fn of_a_member_that_is_there_twice_the_last_counts() {
    assert_eq!(value("event.data.a", r#"{"a":1,"a":2}"#).unwrap(), "2");
    assert_eq!(value("event.data", r#"{"a":1,"a":2}"#).unwrap(), r#"{"a":1,"a":2}"#);
}

#[test]
fn what_is_no_part_of_a_text_is_said() {
    let data = r#"{"n":null,"l":[1],"o":{"a":1}}"#;
    for (template, said) in [
        ("a{{ event.data.n }}", "emit[0].data.v: null cannot be part of a text"),
        ("a{{ event.data.l }}", "emit[0].data.v: a list cannot be part of a text"),
        ("a{{ event.data.o }}", "emit[0].data.v: an object cannot be part of a text"),
        ("a{{ event.data.gone }}", "emit[0].data.v: event.data.gone does not exist"),
        ("{{ event.data.gone }}", "emit[0].data.v: event.data.gone does not exist"),
        ("{{ event.data.o.b.c }}", "emit[0].data.v: event.data.o.b does not exist"),
    ] {
        let error = made(template, data).unwrap_err();
        assert!(error.starts_with(said), "{template}: {error}");
    }
}

#[test]
fn nothing_makes_much_of_little() {
    let long = "x".repeat(200_000);
    let data = format!(r#"{{"x":"{long}","list":[{}],"n":1000000000}}"#, vec!["1"; 20_000].join(","));
    for (expression, said) in [
        ("event.data.x | replace('x', event.data.x)", "more than 1 MiB"),
        ("event.data.list | join(event.data.x)", "more than 1 MiB"),
        ("event.data.x ~ event.data.x ~ event.data.x ~ event.data.x ~ event.data.x ~ event.data.x", "1 MiB"),
        ("event.data.x * event.data.n", "no number to compute with"),
        ("event.data.n ** event.data.n", "no number"),
        ("1.5 | round(event.data.n)", "more than 1 MiB"),
        ("event.data.list | map('replace', '1', event.data.x) | list", "16 MiB"),
        ("event.data.list | select('in', event.data.list) | list", "16 MiB"),
        ("event.data.list | select('eq', event.data.list) | list", "16 MiB"),
        ("event.data.list | select('startingwith', event.data.x) | list", "16 MiB"),
        ("event.data.list | map(attribute=event.data.x) | list", "16 MiB"),
    ] {
        let error = value(expression, &data).unwrap_err();
        assert!(error.contains(said), "{expression}: {error}");
    }
}

#[test]
fn what_is_emitted_is_no_larger_than_what_comes_from_outside() {
    let long = "x".repeat(400_000);
    let emit = "    emit: [{type: out.x, data: ['{{ event.data.x }}', '{{ event.data.x }}', '{{ event.data.x }}']}]\n";
    let trial = tried(&one_rule(emit), &event(&format!(r#"{{"x":"{long}"}}"#)));
    assert!(trial.error.unwrap().contains("larger than 1 MiB"));
    let small = one_rule(&format!("{emit}limits: {{event_bytes: 2KiB, field_bytes: 1KiB}}\n"));
    let trial = tried(&small, &event(&format!(r#"{{"x":"{}"}}"#, "x".repeat(1_000))));
    assert!(trial.error.unwrap().contains("limits.event_bytes"));
    let nested = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    let deep = one_rule("    emit: [{type: out.x, data: [[[[['{{ event.data }}']]]]]}]\n");
    let trial = tried(&deep, &event(&nested));
    assert!(trial.error.unwrap().contains("limits.json_depth"));
}

#[test]
fn a_client_or_key_that_is_none_fails() {
    for (emit, data, said) in [
        ("client: '{{ event.data.c }}'", r#"{"c":"no such client"}"#, "emit[0].client: client \"no such"),
        ("client: '{{ event.data.c }}'", r#"{"c":["a"]}"#, "emit[0].client: a list"),
        ("key: '{{ event.data.c }}'", r#"{"c":""}"#, "emit[0].key: a key is not empty"),
        ("key: '{{ event.data.c }}'", r#"{"c":"a\nb"}"#, "emit[0].key: a key has no control"),
    ] {
        let trial = tried(&one_rule(&format!("    emit: [{{type: out.x, {emit}}}]\n")), &event(data));
        let error = trial.error.unwrap();
        assert!(error.starts_with(said), "{emit}: {error}");
    }
}

#[test]
fn the_chain_of_rules_ends_at_the_bound() {
    let config = one_rule("    emit: [{type: out.x}]\nlimits: {rule_depth: 3}\n");
    let at = |depth| tried(&config, &Event { depth, ..event("{}") });
    assert_eq!((at(0).error, at(2).error), (None, None));
    for depth in [3, 4, u8::MAX] {
        let error = at(depth).error.unwrap();
        assert!(error.contains("the chain ends here") && error.contains("limits.rule_depth"), "{error}");
    }
}
