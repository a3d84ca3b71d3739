//! When a rule holds.

use crate::rules::condition;

#[test]
fn numbers_are_compared_by_what_they_are_worth() {
    for (data, holds) in [
        (r#"{"v":91}"#, true),
        (r#"{"v":90}"#, false),
        (r#"{"v":90.0}"#, false),
        (r#"{"v":90.00}"#, false),
        (r#"{"v":90.10}"#, true),
        (r#"{"v":9.1E1}"#, true),
        (r#"{"v":123456789012345678901234567890123456789012345}"#, true),
        (r#"{"v":-123456789012345678901234567890123456789012345}"#, false),
    ] {
        assert_eq!(condition("event.data.v > 90", data), Ok((holds, None)), "{data}");
        assert_eq!(condition("not event.data.v <= 90", data), Ok((holds, None)), "{data}");
    }
    let same = r#"{"a":1.10,"b":1.1,"c":9007199254740993,"d":9007199254740992}"#;
    assert_eq!(condition("event.data.a == event.data.b", same), Ok((true, None)));
    assert_eq!(condition("event.data.c == event.data.d", same), Ok((false, None)));
    assert_eq!(condition("event.data.a in [2, 1.1]", same), Ok((true, None)));
}

#[test]
fn a_condition_about_what_the_event_has_not_does_not_hold_and_says_why() {
    for (text, data, why) in [
        ("event.data.value > 90", "{}", "event.data.value does not exist"),
        ("event.data.value < 90", "{}", "event.data.value does not exist"),
        ("event.data.value != 90", "{}", "event.data.value does not exist"),
        ("not event.data.value > 90", "{}", "event.data.value does not exist"),
        ("event.data.value > 90", r#"{"value":null}"#, "event.data.value is null"),
        ("event.data.a.b.c == 1", "{}", "event.data.a does not exist"),
        ("event.data['a b'] == 1", "{}", "event.data['a b'] does not exist"),
        ("event.data.flag", "{}", "event.data.flag does not exist"),
        ("event.data.value > 90", "7", "event.data.value does not exist"),
        ("event.subject == 'x'", "{}", "event.subject does not exist"),
        ("event.data.list[3] == 1", r#"{"list":[1]}"#, "event.data.list[3] does not exist"),
    ] {
        assert_eq!(condition(text, data), Ok((false, Some(why.to_owned()))), "{text}");
    }
}

#[test]
fn what_may_be_missing_can_be_asked_for() {
    for (text, holds) in [
        ("event.data.muted is defined", false),
        ("not event.data.muted", true),
        ("event.data.muted | default(false)", false),
        ("event.data.value | default(100) > 90", true),
        ("event.data.other is defined and event.data.other > 3", false),
        ("event.data.none is none", true),
        ("event.data.none == none", true),
        ("'x' in event.data.object", true),
        ("event.data.object.x", true),
        ("event.data.text == 91", false),
        ("event.data.text | float > 90", true),
        ("event.data.text is startingwith '9'", true),
        ("event.data.value is gt(90)", false),
        ("event.data.rows | selectattr('v', 'gt', 90) | list", true),
        ("event.data.rows | selectattr('v', 'gt', 99) | list", false),
        ("event.data.rows | map(attribute='v') | select('eq', 91) | list", true),
    ] {
        let data = r#"{"none":null,"object":{"x":1},"text":"91","rows":[{"w":1},{"v":null},{"v":91.0}]}"#;
        assert_eq!(condition(text, data), Ok((holds, None)), "{text}");
    }
}

#[test]
fn a_comparison_that_makes_no_sense_fails_and_is_no_alarm() {
    for (data, said) in [
        (r#"{"v":"91"}"#, "when: a text cannot be compared with a number"),
        (r#"{"v":"n/a"}"#, "when: a text cannot be compared with a number"),
        (r#"{"v":true}"#, "when: true or false cannot be compared with a number"),
        (r#"{"v":[91]}"#, "when: a list cannot be compared with a number"),
        (r#"{"v":{}}"#, "when: an object cannot be compared with a number"),
    ] {
        let error = condition("event.data.v > 90", data).unwrap_err();
        assert!(error.starts_with(said), "{data}: {error}");
    }
    assert!(condition("'a' in event.data.v", r#"{"v":1}"#).unwrap_err().contains("cannot be in a number"));
}

#[test]
fn texts_are_compared_with_texts() {
    for (text, holds) in [
        ("event.data.a < event.data.b", true),
        ("event.data.a == 'apple'", true),
        ("'ppl' in event.data.a", true),
        ("'x' not in event.data.a", true),
        ("event.data.a | upper == 'APPLE'", true),
        ("event.client == 'acme' and event.type == 'in.put'", true),
    ] {
        assert_eq!(condition(text, r#"{"a":"apple","b":"banana"}"#), Ok((holds, None)), "{text}");
    }
}
