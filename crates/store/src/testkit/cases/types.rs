//! Decimals, dates, ids and lists; what engines know of text by functions of their own.

use std::sync::Arc;

use super::super::Factory;
use super::super::kit::{Outcome, all, at, batch, dataset, def, event, refused, same};
use super::super::rows::{PATIENCE, ascending, compare, descending, of, only_if, read};
use super::case_list;
use super::select::{Nothing, ordered_by};
use crate::error::ErrorKind;
use crate::expr::{Arrow, Expr};
use crate::select::{Compare, Filter, Nulls, Operand, Select};
use crate::traits::Store;

case_list![
    exact_values_come_back_as_they_were,
    decimals_compare_by_value,
    dates_and_ids_compare_by_value,
    lists_compare_as_sets,
    json_contains_json,
    expressions_match_text,
    distinct_takes_null_for_a_value,
    a_row_has_the_defaults_of_what_it_does_not_name,
    what_a_type_does_not_know_is_invalid,
];

const EXACT: &str = r#"{"fields":[{"name":"i","type":"integer"},{"name":"d","type":"decimal"},
    {"name":"day","type":"date"},{"name":"id","type":"uuid"},{"name":"tags","type":"text[]"},
    {"name":"t","type":"text"},{"name":"j","type":"json"}]}"#;

async fn exact(store: &Arc<dyn Store>, rows: &str) -> Outcome {
    store.define(&all(), &dataset("d"), &def(EXACT), at(0)).await?;
    store.record(batch(0, 1, vec![event(1, "a", rows)])).await?;
    Ok(())
}

fn decimal(text: &str) -> Operand {
    Operand::Decimal(text.parse().expect("numbers in cases are valid"))
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn not(filter: Filter) -> Filter {
    Filter::Not(Box::new(filter))
}

/// Which of the rows match, by `i`.
async fn matching(store: &Arc<dyn Store>, filter: Filter) -> Outcome<String> {
    Ok(read(store, &all(), ordered_by(only_if(of(&["i"]), filter), "i")).await?.join(","))
}

async fn exact_values_come_back_as_they_were(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let rows = r#"[
        {"d":1.10,"day":"2024-02-29","id":"9A2AE9DE-3f82-4f55-966b-47df50ff51ff","tags":["b","a","b"]},
        {"d":-0.00,"day":"0000-01-01","id":"00000000-0000-0000-0000-000000000000","tags":[]},
        {"d":12345678901234567890123456789012345678,"day":"9999-12-31","tags":["","null","ä,\"{}\\ \n\u0001 世"]},
        {"d":0.00000000000000000000000000000000000001,"tags":["x"]},
        {"d":-15e-1},{"d":100000000},{"d":0.00010000},{}]"#;
    exact(&store, rows).await?;
    drop(store);
    let store = factory.open().await?;
    let expected = [
        r#"1.10m 2024-02-29 9a2ae9de-3f82-4f55-966b-47df50ff51ff texts:["b","a","b"]"#,
        "0.00m 0000-01-01 00000000-0000-0000-0000-000000000000 texts:[]",
        "12345678901234567890123456789012345678m 9999-12-31 null \
         texts:[\"\",\"null\",\"ä,\\\"{}\\\\ \\n\\u0001 世\"]",
        r#"0.00000000000000000000000000000000000001m null null texts:["x"]"#,
        "-1.5m null null null",
        "100000000m null null null",
        "0.00010000m null null null",
        "null null null null",
    ];
    let found = read(&store, &all(), of(&["d", "day", "id", "tags"])).await?;
    same("rows", found, texts(&expected))?;
    for rows in [
        r#"{"d":"1.5"}"#,
        r#"{"d":123456789012345678901234567890123456789}"#,
        r#"{"d":1e39}"#,
        r#"{"d":true}"#,
        r#"{"day":"2023-02-29"}"#,
        r#"{"day":"2024-02-29T00:00:00Z"}"#,
        r#"{"day":20240229}"#,
        r#"{"id":"9a2ae9de3f824f55966b47df50ff51ff"}"#,
        r#"{"id":1}"#,
        r#"{"tags":"a"}"#,
        r#"{"tags":["a",null]}"#,
        r#"{"tags":["a",1]}"#,
        r#"{"tags":[["a"]]}"#,
        r#"{"tags":["a\u0000"]}"#,
    ] {
        let result = store.record(batch(1, 2, vec![event(2, "a", rows)])).await;
        same("the entry is named", refused(rows, result, ErrorKind::Invalid)?.entry(), Some(0))?;
    }
    Ok(())
}

async fn decimals_compare_by_value(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let rows = r#"[{"i":1,"d":-10},{"i":2,"d":-9.5},{"i":3,"d":0.0},{"i":4,"d":0.05},{"i":5,"d":1.10},
        {"i":6,"d":1.1},{"i":7,"d":9},{"i":8,"d":10.00},{"i":9,"d":99999999999999999999999999999999999999},{"i":10}]"#;
    exact(&store, rows).await?;
    for (what, filter, expected) in [
        ("eq", Compare::Eq(decimal("1.100")), "5,6"),
        ("neq", Compare::Neq(decimal("1.1")), "1,2,3,4,7,8,9"),
        ("gt", Compare::Gt(decimal("9")), "8,9"),
        ("gte", Compare::Gte(decimal("9.0")), "7,8,9"),
        ("lt", Compare::Lt(decimal("-9.5")), "1"),
        ("lte", Compare::Lte(decimal("-9.50")), "1,2"),
        ("in", Compare::In(vec![decimal("10"), decimal("0"), decimal("5")]), "3,8"),
        ("the greatest", Compare::Gte(decimal("99999999999999999999999999999999999999")), "9"),
    ] {
        same(what, matching(&store, compare("d", filter)).await?, expected.to_owned())?;
    }
    for (order, expected) in [
        (ascending("d", Nulls::First), "10 1 2 3 4 5 6 7 8 9"),
        (descending("d", Nulls::Last), "9 8 7 5 6 4 3 2 1 10"),
    ] {
        let found = read(&store, &all(), Select { order: vec![order], ..of(&["i"]) }).await?;
        same("order", found.join(" "), expected.to_owned())?;
    }
    // A key is the same whatever zeros stand behind it, within a batch and across.
    let name = dataset("keyed");
    let keyed = r#"{"fields":[{"name":"d","type":"decimal","required":true},{"name":"i","type":"integer"}],"key":["d"]}"#;
    store.define(&all(), &name, &def(keyed), at(0)).await?;
    for (n, rows) in [(1, r#"[{"d":1.0,"i":1},{"d":2,"i":2},{"d":1.00,"i":3}]"#), (2, r#"{"d":2.0,"i":4}"#)] {
        let mut event = event(10 + n, "a", rows);
        event.dataset = name.clone();
        let n = i64::try_from(n).expect("two");
        store.record(batch(n, n + 1, vec![event])).await?;
    }
    let found = read(&store, &all(), ordered_by(Select { dataset: name, ..of(&["d", "i"]) }, "d")).await?;
    same("keys", found, texts(&["1.00m 3", "2.0m 4"]))
}

async fn dates_and_ids_compare_by_value(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let rows = r#"[{"i":1,"day":"0000-01-01","id":"00000000-0000-0000-0000-000000000001"},
        {"i":2,"day":"1969-12-31","id":"7fffffff-0000-0000-0000-000000000000"},
        {"i":3,"day":"2024-02-29","id":"80000000-0000-0000-0000-000000000000"},
        {"i":4,"day":"9999-12-31","id":"ffffffff-ffff-ffff-ffff-ffffffffffff"},{"i":5}]"#;
    exact(&store, rows).await?;
    let day = |text: &str| Operand::Date(text.parse().expect("dates in cases are valid"));
    let id = |text: &str| Operand::Uuid(text.parse().expect("ids in cases are valid"));
    let high = || id("80000000-0000-0000-0000-000000000000");
    for (column, filter, expected) in [
        ("day", Compare::Eq(day("2024-02-29")), "3"),
        ("day", Compare::Neq(day("2024-02-29")), "1,2,4"),
        ("day", Compare::Gt(day("1969-12-31")), "3,4"),
        ("day", Compare::Lte(day("1969-12-31")), "1,2"),
        ("day", Compare::In(vec![day("9999-12-31"), day("0000-01-01")]), "1,4"),
        ("id", Compare::Eq(high()), "3"),
        ("id", Compare::Lt(high()), "1,2"),
        ("id", Compare::Gte(high()), "3,4"),
        ("id", Compare::In(vec![high()]), "3"),
    ] {
        let what = format!("{column} {filter:?}");
        same(&what, matching(&store, compare(column, filter)).await?, expected.to_owned())?;
    }
    for column in ["day", "id"] {
        let order = vec![descending(column, Nulls::First)];
        let found = read(&store, &all(), Select { order, ..of(&["i"]) }).await?;
        same(column, found.join(" "), "5 4 3 2 1".to_owned())?;
    }
    Ok(())
}

async fn json_contains_json(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let fields = r#"{"fields":[{"name":"i","type":"integer"},{"name":"j","type":"json"}]}"#;
    store.define(&all(), &dataset("d"), &def(fields), at(0)).await?;
    let rows = r#"[{"i":1,"j":{"a":1.10,"b":["x",{"c":null}]}},{"i":2,"j":{"a":2,"a":11e-1}},{"i":3,"j":["ä",1.1,[2]]},
        {"i":4,"j":"\u00e4"},{"i":5},{"i":6,"j":{"a":1.1,"bad":"\u0000"}},{"i":7,"j":[1e131072,"ä"]},
        {"i":8,"j":[1e131071,1e-16383]},{"i":9,"j":[1e-16384,"ä"]},{"i":10,"j":["\ud83d","ä"]},{"i":11,"j":[0,-0.0]}]"#;
    store.record(batch(0, 1, vec![event(1, "a", rows)])).await?;
    let contains = |document: &str| Compare::ContainsJson(document.to_owned());
    let contained = |document: &str| Compare::ContainedByJson(document.to_owned());
    for (compares, expected) in [
        (contains(r#"{"a":1.1}"#), "1,2"),
        (contains(r#" {"b":[{}]} "#), "1"),
        (contains(r#"{"b":["x","x"]}"#), "1"),
        (contains(r#"{"a":2}"#), ""),
        (contains("{}"), "1,2"),
        (contains("[]"), "3,8,11"),
        (contains(r#""ä""#), "3,4"),
        (contains(r#"["ä"]"#), "3"),
        (contains("[2]"), ""),
        (contains("[[2.0]]"), "3"),
        (contains("10e131070"), "8"),
        (contains("[0.1e-16382]"), "8"),
        (contains("0"), "11"),
        (contained(r#"{"a":1.1,"b":["x",{"c":null,"d":1}],"c":1}"#), "1,2"),
        (contained(r#"["ä"]"#), "4"),
        (contained(r#""ä""#), "4"),
        (contained(r#"[0]"#), "11"),
    ] {
        let what = format!("{compares:?}");
        same(&what, matching(&store, compare("j", compares)).await?, expected.to_owned())?;
    }
    let neither = not(compare("j", contains("{}")));
    same("what is no value is unknown", matching(&store, neither).await?, "3,4,8,11".to_owned())?;
    let part =
        Expr::Part { column: "j".to_owned(), path: vec![Arrow::Member("b".to_owned())], as_text: false };
    let filter = Filter::Compare { column: part, compare: contains(r#""x""#) };
    same("a part", matching(&store, filter).await?, "1".to_owned())
}

async fn lists_compare_as_sets(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let rows = r#"[{"i":1,"tags":["a","b"]},{"i":2,"tags":["b","a","b"]},{"i":3,"tags":[]},
        {"i":4,"tags":["ä","A"]},{"i":5,"tags":["a,b","\"","{}"]},{"i":6}]"#;
    exact(&store, rows).await?;
    let equal = |list: &[&str]| Compare::Eq(Operand::Texts(texts(list)));
    for (filter, expected) in [
        (equal(&["a", "b"]), "1"),
        (equal(&["b", "a"]), ""),
        (equal(&[]), "3"),
        (equal(&["a\0"]), ""),
        (Compare::Neq(Operand::Texts(texts(&["a", "b"]))), "2,3,4,5"),
        (Compare::Neq(Operand::Texts(texts(&["\0"]))), "1,2,3,4,5"),
        (Compare::Distinct(Operand::Texts(texts(&["a", "b"]))), "2,3,4,5,6"),
        (Compare::In(vec![Operand::Texts(texts(&[])), Operand::Texts(texts(&["a", "b"]))]), "1,3"),
        (Compare::Contains(texts(&["b", "a"])), "1,2"),
        (Compare::Contains(texts(&["a", "a"])), "1,2"),
        (Compare::Contains(texts(&[])), "1,2,3,4,5"),
        (Compare::Contains(texts(&["a", "c"])), ""),
        (Compare::Contains(texts(&["a", "\0"])), ""),
        (Compare::Contains(texts(&["{}", "\""])), "5"),
        (Compare::ContainedBy(texts(&["a", "b", "c"])), "1,2,3"),
        (Compare::ContainedBy(texts(&["a", "b", "\0"])), "1,2,3"),
        (Compare::ContainedBy(texts(&[])), "3"),
        (Compare::Overlaps(texts(&["b", "ä"])), "1,2,4"),
        (Compare::Overlaps(texts(&["\0"])), ""),
        (Compare::Overlaps(texts(&[])), ""),
    ] {
        let what = format!("{filter:?}");
        same(&what, matching(&store, compare("tags", filter)).await?, expected.to_owned())?;
    }
    let none = not(compare("tags", Compare::Overlaps(texts(&["a"]))));
    same("not ov", matching(&store, none).await?, "3,4,5".to_owned())?;
    let never = not(compare("tags", Compare::Contains(texts(&["\0"]))));
    same("not what no list has", matching(&store, never).await?, "1,2,3,4,5".to_owned())
}

async fn expressions_match_text(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let rows = r#"[{"i":1,"t":"abc"},{"i":2,"t":"ABC"},{"i":3,"t":"a\nb"},{"i":4,"t":""},{"i":5,"t":"Größe 42"},
        {"i":6,"t":"a.b-c_d"},{"i":7,"t":"世界"},{"i":8,"t":"\u212a"},{"i":9,"t":"x{2}$^"},{"i":10}]"#;
    exact(&store, rows).await?;
    for (pattern, ignore_case, expected) in [
        ("b", false, "1,3,6"),
        ("b", true, "1,2,3,6"),
        ("^a", false, "1,3,6"),
        ("^abc$", true, "1,2"),
        ("a.b", false, "3,6"),
        (r"a\.b", false, "6"),
        ("^$", false, "4"),
        ("", false, "1,2,3,4,5,6,7,8,9"),
        (r"\d{2}$", false, "5"),
        (r"^\w+$", false, "1,2"),
        (r"\s", false, "3,5"),
        (r"^\D*$", false, "1,2,3,4,6,7,8"),
        ("größe", true, "5"),
        ("GRÖSSE", true, ""),
        ("^(a|b|c)+$", false, "1"),
        ("^[^a-z]{2}$", false, "7"),
        ("[世-界]", false, "7"),
        ("[[:upper:]]", false, "2,5"),
        ("k", true, "8"),
        (r"\{2\}\$\^", false, "9"),
        (r"[-_]c?_?d?$", false, "6"),
        ("a*?", false, "1,2,3,4,5,6,7,8,9"),
        ("(?:x|)$", false, "1,2,3,4,5,6,7,8,9"),
    ] {
        let filter = Compare::Match { pattern: pattern.to_owned(), ignore_case };
        let what = format!("{pattern:?}, ignore case: {ignore_case}");
        same(&what, matching(&store, compare("t", filter)).await?, expected.to_owned())?;
    }
    let filter = Compare::Match { pattern: "b".to_owned(), ignore_case: true };
    same("not", matching(&store, not(compare("t", filter))).await?, "4,5,7,8,9".to_owned())?;
    for pattern in [r"\bword", "(?i)a", r"\p{L}", "(a{200}){200}", "(", "a\0", r"(a)\1"] {
        let filter = Compare::Match { pattern: pattern.to_owned(), ignore_case: false };
        let select = only_if(of(&["i"]), compare("t", filter));
        let result = store.select(&all(), select, Box::new(Nothing), PATIENCE).await;
        refused(pattern, result.map(|(selected, _)| selected), ErrorKind::Invalid)?;
    }
    Ok(())
}

async fn distinct_takes_null_for_a_value(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let rows =
        r#"[{"i":1,"d":1.0,"t":"a","day":"2024-01-01"},{"i":2,"d":2,"t":"b","day":"2024-01-02"},{"i":3}]"#;
    exact(&store, rows).await?;
    let text = |text: &str| Operand::Text(text.to_owned());
    let day = Operand::Date("2024-01-01".parse().expect("it is a date"));
    for (column, value, expected, others) in [
        ("d", decimal("1"), "2,3", "1"),
        ("t", text("a"), "2,3", "1"),
        ("t", text("a\0"), "1,2,3", ""),
        ("day", day, "2,3", "1"),
        ("i", Operand::Integer(2), "1,3", "2"),
    ] {
        let filter = compare(column, Compare::Distinct(value));
        same(column, matching(&store, filter.clone()).await?, expected.to_owned())?;
        same(column, matching(&store, not(filter)).await?, others.to_owned())?;
    }
    Ok(())
}

async fn a_row_has_the_defaults_of_what_it_does_not_name(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let defaults = r#"{"fields":[{"name":"i","type":"integer","required":true,"default":-7},
        {"name":"t","type":"text","default":"it's \\ \"x\""},{"name":"f","type":"float","default":1e300},
        {"name":"d","type":"decimal","default":0.25},{"name":"b","type":"boolean","default":false},
        {"name":"at","type":"timestamp","default":"2024-01-01T00:00:00Z"},{"name":"day","type":"date","default":"2024-01-01"},
        {"name":"id","type":"uuid","default":"9a2ae9de-3f82-4f55-966b-47df50ff51ff"},
        {"name":"tags","type":"text[]","default":["a","b,c"]},{"name":"j","type":"json","default":{"a":[1,null]}}]}"#;
    let name = dataset("d");
    store.define(&all(), &name, &def(defaults), at(0)).await?;
    drop(store);
    let store = factory.open().await?;
    same("definition", store.dataset(&all(), &name).map(|there| there.def.clone()), Some(def(defaults)))?;
    let rows = r#"[{},{"i":1,"t":null,"f":null,"d":null,"b":null,"at":null,"day":null,"id":null,"tags":null,"j":null}]"#;
    store.record(batch(0, 1, vec![event(1, "a", rows)])).await?;
    let columns = ["i", "t", "f", "d", "b", "at", "day", "id", "tags", "j"];
    let full = "-7 'it's \\ \"x\"' 1e300 0.25m false 2024-01-01T00:00:00Z 2024-01-01 \
                9a2ae9de-3f82-4f55-966b-47df50ff51ff texts:[\"a\",\"b,c\"] json:{\"a\":[1,null]}";
    let nulls = "1 null null null null null null null null null";
    same("rows", read(&store, &all(), of(&columns)).await?, texts(&[full, nulls]))?;
    // Null is no value: it does not become the default.
    let refused_row = store.record(batch(1, 2, vec![event(2, "a", r#"{"i":null}"#)])).await;
    refused("null in a required column", refused_row, ErrorKind::Invalid)?;
    for (kind, wrong) in [
        ("text", "1"),
        ("integer", "1.5"),
        ("integer", "\"1\""),
        ("float", "\"1\""),
        ("decimal", "\"1\""),
        ("decimal", "0.12345678901234567"),
        ("boolean", "0"),
        ("timestamp", "\"2024-01-01\""),
        ("date", "\"2023-02-29\""),
        ("uuid", "\"x\""),
        ("text[]", "[1]"),
        ("text[]", "\"a\""),
    ] {
        let faulty = def(&format!(r#"{{"fields":[{{"name":"a","type":"{kind}","default":{wrong}}}]}}"#));
        let what = format!("{kind} {wrong}");
        refused(&what, store.define(&all(), &dataset("e"), &faulty, at(1)).await, ErrorKind::Invalid)?;
    }
    Ok(())
}

async fn what_a_type_does_not_know_is_invalid(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    exact(&store, r#"{"i":1}"#).await?;
    let text = || Operand::Text("a".to_owned());
    let list = || Operand::Texts(texts(&["a"]));
    for (column, wrong) in [
        ("d", Compare::Eq(Operand::Integer(1))),
        ("d", Compare::Eq(Operand::Float(1.0))),
        ("day", Compare::Gt(text())),
        ("id", Compare::Distinct(text())),
        ("tags", Compare::Gt(list())),
        ("tags", Compare::Lte(list())),
        ("tags", Compare::Eq(text())),
        ("t", Compare::Contains(texts(&["a"]))),
        ("i", Compare::Overlaps(texts(&["a"]))),
        ("t", Compare::ContainsJson("1".to_owned())),
        ("tags", Compare::ContainedByJson("[]".to_owned())),
        ("j", Compare::ContainsJson(format!("[{}1]", "1,".repeat(199)))),
        ("d", Compare::Match { pattern: "1".to_owned(), ignore_case: false }),
        ("tags", Compare::Like { pattern: "a".to_owned(), ignore_case: false }),
    ] {
        let what = format!("{column} {wrong:?}");
        let select = only_if(of(&["i"]), compare(column, wrong));
        let result = store.select(&all(), select, Box::new(Nothing), PATIENCE).await;
        refused(&what, result.map(|(selected, _)| selected), ErrorKind::Invalid)?;
    }
    let result = store.select(&all(), ordered_by(of(&["i"]), "tags"), Box::new(Nothing), PATIENCE).await;
    refused("the order of lists", result.map(|(selected, _)| selected), ErrorKind::Invalid)?;
    let keyed = def(r#"{"fields":[{"name":"k","type":"text[]","required":true}],"key":["k"]}"#);
    let result = store.define(&all(), &dataset("e"), &keyed, at(1)).await;
    refused("a list as a key", result, ErrorKind::Invalid)?;
    Ok(())
}
