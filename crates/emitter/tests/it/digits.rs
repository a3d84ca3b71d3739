//! Values pass through with their type and their digits, and numbers are computed with.

use crate::rules::{made, tried, value};

const DATA: &str = r#"{"big":9007199254740993,"float":5.122996,"odd":1.10,"exp":1E+3,
    "huge":123456789012345678901234567890123456789012345,"text":"-23.831520","null":null,"yes":true,
    "list":[1.10, 2,{"x":0.10}],"object":{"z":1.50,"a":[1, 2]},"rows":[{"x":0.10},{"y":1}],"nums":[3,1.10,2]}"#;

#[test]
fn a_value_that_stands_alone_keeps_its_type_and_its_digits() {
    for (expression, expected) in [
        ("event.data.big", "9007199254740993"),
        ("event.data.float", "5.122996"),
        ("event.data.odd", "1.10"),
        ("event.data.exp", "1E+3"),
        ("event.data.huge", "123456789012345678901234567890123456789012345"),
        ("event.data.text", r#""-23.831520""#),
        ("event.data.null", "null"),
        ("event.data.yes", "true"),
        ("event.data.list", r#"[1.10, 2,{"x":0.10}]"#),
        ("event.data.list[0]", "1.10"),
        ("event.data.list[-1].x", "0.10"),
        ("event.data['object']", r#"{"z":1.50,"a":[1, 2]}"#),
        ("event.data.odd | default(0)", "1.10"),
        ("event.data.gone | default(event.data.odd)", "1.10"),
        ("[event.data.odd, event.data.big]", "[1.10,9007199254740993]"),
        ("{'v': event.data.huge}", r#"{"v":123456789012345678901234567890123456789012345}"#),
        ("event.data.list | first", "1.10"),
        ("event.data.rows | selectattr('x', 'defined') | map(attribute='x') | list", "[0.10]"),
        ("event.data.odd if event.data.yes else 0", "1.10"),
        ("event.type", r#""in.put""#),
        ("event.client", r#""acme""#),
        ("event.traceid", r#""their trace""#),
    ] {
        assert_eq!(value(expression, DATA).as_deref(), Ok(expected), "{expression}");
    }
}

#[test]
fn a_value_in_a_text_is_text_with_the_same_digits() {
    for (template, expected) in [
        ("v={{ event.data.odd }}", r#""v=1.10""#),
        ("{{ event.data.huge }}!", r#""123456789012345678901234567890123456789012345!""#),
        (" {{ event.data.big }}", r#"" 9007199254740993""#),
        ("{{ event.data.big }}\n", r#""9007199254740993\n""#),
        ("{{ event.data.odd | string }}", r#""1.10""#),
        ("{{ [event.data.odd, 2] | join(';') }}", r#""1.10;2""#),
        ("{{ event.data.object | tojson }}", r#""{\"z\":1.50,\"a\":[1, 2]}""#),
        ("{{ event.data.odd ~ '/' ~ event.data.yes }}", r#""1.10/true""#),
        ("{# nothing #}plain", r#""plain""#),
    ] {
        assert_eq!(made(template, DATA).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn numbers_are_computed_with() {
    for (expression, expected) in [
        ("event.data.big + 1", "9007199254740994"),
        ("event.data.odd * 2", "2.2"),
        ("-event.data.odd", "-1.1"),
        ("-event.data.big", "-9007199254740993"),
        ("event.data.big - event.data.big", "0"),
        ("event.data.nums[0] / 2", "1.5"),
        ("event.data.nums[0] // 2", "1"),
        ("event.data.nums[0] % 2", "1"),
        ("event.data.nums[2] ** 10", "1024"),
        ("event.data.text | float", "-23.83152"),
        ("event.data.odd | round", "1.0"),
        ("event.data.nums | max", "3"),
        ("event.data.nums | sort", "[1.1,2,3]"),
        ("event.data.nums | sum", "6.1"),
        ("event.data.big is odd", "true"),
        ("event.data.nums | select('gt', 1.5) | list", "[3,2]"),
    ] {
        assert_eq!(value(expression, DATA).as_deref(), Ok(expected), "{expression}");
    }
    for (expression, said) in [
        ("event.data.nums[0] / 0", "no number"),
        ("event.data.nums[0] // 0", "no number"),
        ("event.data.text * 1000", "a text is no number to compute with"),
        ("event.data.list + event.data.list", "a list is no number to compute with"),
        ("event.data.big is divisibleby(0)", "no number is divisible by 0"),
        ("event.data.null * 2", "event.data.null is null"),
    ] {
        let error = value(expression, DATA).unwrap_err();
        assert!(error.contains(said), "{expression}: {error}");
    }
}

#[test]
fn what_the_configuration_says_itself_comes_out_as_it_stands() {
    let config = crate::rules::one_rule(
        "    emit: [{type: out.x, client: ops, key: a b, data: {n: 7, f: 5.122996, t: no, z: null, l: [true, {}]}}]\n",
    );
    let trial = tried(&config, &crate::rules::event("{}"));
    let event = trial.emits[0].event.get();
    assert!(event.ends_with(r#""data":{"f":5.122996,"l":[true,{}],"n":7,"t":"no","z":null}}"#), "{event}");
    assert!(event.contains(r#""client":"ops","partitionkey":"a b""#), "{event}");
}
