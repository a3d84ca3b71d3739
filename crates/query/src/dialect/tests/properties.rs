//! What holds whatever a caller writes.

use proptest::prelude::*;

use super::*;

fn fields() -> impl Strategy<Value = Field> {
    let arrow = prop_oneof![
        "[a-z0-9\".\\\\,>: -]{1,5}".prop_map(Arrow::Member),
        any::<i32>().prop_map(Arrow::Element),
    ];
    ("[a-z\".\\\\]{1,5}", prop::collection::vec(arrow, 0..3), any::<bool>())
        .prop_map(|(name, path, as_text)| Field { as_text: as_text && !path.is_empty(), name, path })
}

fn conditions() -> impl Strategy<Value = Condition> {
    let text = "[ -~äß\"\\\\,()]{0,6}";
    let operator = prop::sample::select(Operator::ALL.map(|(_, operator)| operator).to_vec());
    let is = prop::sample::select(Is::ALL.map(|(_, is)| is).to_vec());
    let test = prop_oneof![
        (operator.clone(), text).prop_map(|(operator, text)| Test::Binary(operator, text)),
        (operator, prop::sample::select(vec![Each::Any, Each::All]), prop::collection::vec(text, 0..3))
            .prop_filter("takes modifiers", |(operator, _, _)| operator.takes_each())
            .prop_map(|(operator, each, texts)| Test::Each(operator, each, texts)),
        prop::collection::vec(text, 0..4).prop_map(Test::In),
        is.prop_map(Test::Is),
    ];
    let leaf = (fields(), any::<bool>(), test).prop_map(|(column, negated, test)| Condition::Test {
        column,
        negated,
        test,
    });
    leaf.prop_recursive(3, 20, 4, |inner| {
        (any::<bool>(), any::<bool>(), prop::collection::vec(inner, 1..4))
            .prop_map(|(negated, all, of)| Condition::Group { negated, all, of })
    })
}

proptest! {
    #[test]
    fn no_query_string_panics(text in "[a-z0-9=&.,()\"\\\\%+*: ><_-]{0,60}") {
        if let Ok(query) = parse(&text) {
            let columns = columns();
            let _ = columns.filter(&query.conditions);
            let _ = columns.select(query.select.as_deref());
            let _ = columns.order(&query.order);
            query.canonical();
        }
    }

    #[test]
    fn no_bytes_panic(text in any::<String>(), column in prop::sample::select(vec!["name", "n", "x", "at", "d", "day", "tags", "or", "select", "order"])) {
        if let Ok(query) = parse(&format!("{column}={text}")) {
            let _ = columns().filter(&query.conditions);
        }
    }

    #[test]
    fn what_is_written_is_read_back(condition in conditions()) {
        let text = format!("({condition})");
        let mut budget = Budget { depth: 10, conditions: 1_000, values: 1_000 };
        let read = group(false, true, &text, &mut budget).unwrap();
        prop_assert_eq!(read, Condition::Group { negated: false, all: true, of: vec![condition] });
    }

    #[test]
    fn values_survive_percent_encoding(text in "[^\u{0}]{0,20}") {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let expected = compare("name", Compare::Eq(Operand::Text(text)));
        prop_assert_eq!(only(&format!("name=eq.{encoded}")), expected);
    }
}
