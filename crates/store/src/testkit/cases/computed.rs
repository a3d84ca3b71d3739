//! What reads compute: parts of json, groups and their aggregates, buckets; and where they go on.

use std::sync::Arc;

use super::super::Factory;
use super::super::kit::{Outcome, all, at, batch, dataset, def, event, refused, same};
use super::super::rows::{ascending, compare, descending, of, only_if, read, read_up_to};
use super::case_list;
use super::select::Nothing;
use crate::error::ErrorKind;
use crate::expr::{Aggregate, Arrow, Expr, Value};
use crate::select::{Cell, Column, Compare, Count, Filter, Nulls, Operand, RowSink, Select};
use crate::traits::Store;

case_list![
    parts_of_json_come_digit_for_digit,
    groups_have_one_row_each,
    groups_come_in_the_order_of_their_aggregates,
    sums_are_exact_and_bounded,
    buckets_begin_at_multiples_of_their_length,
    reading_goes_on_behind_a_row,
    what_cannot_be_computed_is_invalid,
];

const DEF: &str = r#"{"fields":[{"name":"g","type":"text"},{"name":"n","type":"integer"},
    {"name":"f","type":"float"},{"name":"at","type":"timestamp"},{"name":"j","type":"json"},
    {"name":"day","type":"date"},{"name":"d","type":"decimal"},{"name":"l","type":"text[]"}]}"#;

async fn with(factory: Arc<dyn Factory>, rows: &str) -> Outcome<Arc<dyn Store>> {
    let store = factory.open().await?;
    store.define(&all(), &dataset("d"), &def(DEF), at(0)).await?;
    store.record(batch(0, 1, vec![event(1, "a", rows)])).await?;
    Ok(store)
}

fn part(path: &[Arrow], as_text: bool) -> Expr {
    Expr::Part { column: "j".to_owned(), path: path.to_vec(), as_text }
}

fn member(name: &str) -> Arrow {
    Arrow::Member(name.to_owned())
}

fn select(values: &[Value]) -> Select {
    let column = |value: &Value| Column { value: value.clone(), alias: "x".to_owned() };
    Select { columns: values.iter().map(column).collect(), ..of(&[]) }
}

fn aggregate(aggregate: Aggregate, column: &str) -> Value {
    Value::Of(aggregate, column.into())
}

async fn parts_of_json_come_digit_for_digit(factory: Arc<dyn Factory>) -> Outcome {
    let rows = r#"[{"n":1,"j":{"a":1.10,"b":["x\u00e4",9007199254740993,null],"a":2.50 }},
        {"n":2,"j":{"a":{"c" : "it\u0027s \ud83d\ude00"}}},{"n":3,"j":[10,20,{"a":true}]},{"n":4,"j":"text"},{"n":5},
        {"n":6,"j":{"a":"x","bad":"\u0000"}},{"n":7,"j":{"a":"x","bad":"\\ud83d\ude00"}},{"n":8,"j":{"a":"\\u0000"}}]"#;
    let store = with(factory, rows).await?;
    let a = || [member("a")];
    let b = |place| [member("b"), Arrow::Element(place)];
    for (what, expr, expected) in [
        (
            "->a",
            part(&a(), false),
            r#"json:2.50|json:{"c" : "it\u0027s \ud83d\ude00"}|null|null|null|null|null|json:"\\u0000""#,
        ),
        (
            "->>a",
            part(&a(), true),
            r#"'2.50'|'{"c" : "it\u0027s \ud83d\ude00"}'|null|null|null|null|null|'\u0000'"#,
        ),
        ("->b->1", part(&b(1), false), "json:9007199254740993|null|null|null|null|null|null|null"),
        ("->b->>0", part(&b(0), true), "'xä'|null|null|null|null|null|null|null"),
        ("->b->2", part(&b(2), false), "json:null|null|null|null|null|null|null|null"),
        ("->b->>2", part(&b(2), true), "null|null|null|null|null|null|null|null"),
        ("->b->-2", part(&b(-2), false), "json:9007199254740993|null|null|null|null|null|null|null"),
        ("->b->-4", part(&b(-4), false), "null|null|null|null|null|null|null|null"),
        ("->1", part(&[Arrow::Element(1)], false), "null|null|json:20|null|null|null|null|null"),
        ("->a->>c", part(&[member("a"), member("c")], true), "null|'it's 😀'|null|null|null|null|null|null"),
        ("->1 of a name", part(&[member("1")], false), "null|null|null|null|null|null|null|null"),
    ] {
        same(what, read(&store, &all(), select(&[Value::Row(expr)])).await?.join("|"), expected.to_owned())?;
    }
    let matching = async |column: Expr, compare: Compare| -> Outcome<String> {
        Ok(read(&store, &all(), only_if(of(&["n"]), Filter::Compare { column, compare })).await?.join(" "))
    };
    let text = |text: &str| Operand::Text(text.to_owned());
    let like = Compare::Like { pattern: "2%".to_owned(), ignore_case: false };
    for (column, compare, expected) in [
        (part(&a(), true), Compare::Eq(text("2.50")), "1"),
        (part(&a(), true), Compare::Gt(text("2.50")), "2 8"),
        (part(&a(), true), like, "1"),
        (part(&a(), true), Compare::In(vec![text("2.50"), text("true")]), "1"),
        (part(&a(), false), Compare::Eq(text("2.50")), "1"),
        (part(&b(2), false), Compare::IsNull, "2 3 4 5 6 7 8"),
        (part(&b(2), true), Compare::IsNull, "1 2 3 4 5 6 7 8"),
    ] {
        let what = format!("{column:?} {compare:?}");
        same(&what, matching(column, compare).await?, expected.to_owned())?;
    }
    let mut order = descending("n", Nulls::Last);
    order.column = part(&a(), true).into();
    let found = read(&store, &all(), Select { order: vec![order], ..of(&["n"]) }).await?;
    same("order", found.join(" "), "2 8 1 3 4 5 6 7".to_owned())
}

async fn groups_have_one_row_each(factory: Arc<dyn Factory>) -> Outcome {
    let rows = r#"[{"g":"b","n":1,"f":1.5,"day":"2026-02-28"},{"g":"ä","n":5,"day":"0999-12-31"},{"g":"b","n":2,"f":2.5},{"n":7,"f":-0.0},{"g":"b"},
        {"n":8,"f":0.0}]"#;
    let store = with(factory, rows).await?;
    let values = [
        Value::Row("g".into()),
        Value::Rows,
        aggregate(Aggregate::Count, "n"),
        aggregate(Aggregate::Sum, "n"),
        aggregate(Aggregate::Avg, "n"),
        aggregate(Aggregate::Min, "f"),
        aggregate(Aggregate::Max, "f"),
        aggregate(Aggregate::Sum, "f"),
    ];
    let groups = ["'b' 3 2 json:3 1.5 1.5 2.5 4.0", "'ä' 1 1 json:5 5.0 null null null"];
    let zero = "null 2 2 json:15 7.5";
    let by_value = only_if(select(&values), Filter::Not(Box::new(compare("g", Compare::IsNull))));
    same("groups", read(&store, &all(), by_value.clone()).await?, groups.map(str::to_owned).to_vec())?;
    let counted = Select { count: Count::Exact, limit: 1, offset: 1, ..by_value.clone() };
    let (found, selected) = read_up_to(&store, &all(), counted, usize::MAX).await?;
    same("a page of groups", (found, selected.total), (vec![groups[1].to_owned()], Some(2)))?;
    let backwards = Select { order: vec![descending("g", Nulls::First)], ..select(&values[..5]) };
    let found = read(&store, &all(), backwards).await?;
    same("backwards", found[0].clone(), zero.to_owned())?;
    same("backwards", (found.len(), found[2].starts_with("'b'")), (3, true))?;
    // Zeros are one, and what of them shows is no chance.
    let zeros = only_if(
        select(&[Value::Row("f".into()), Value::Rows]),
        compare("f", Compare::Eq(Operand::Float(0.0))),
    );
    same("zeros", read(&store, &all(), zeros).await?, vec!["0.0 2".to_owned()])?;
    // Without a column in common all rows are one, also where there is none.
    let nobody = || compare("n", Compare::Eq(Operand::Integer(99)));
    same("nobody", read(&store, &all(), only_if(select(&values), nobody())).await?, Vec::new())?;
    let found = read(&store, &all(), only_if(select(&values[1..]), nobody())).await?;
    same("none", found, vec!["0 0 null null null null null".to_owned()])?;
    let counted = Select { count: Count::Exact, limit: 0, ..select(&values[1..2]) };
    same("one group", read_up_to(&store, &all(), counted, usize::MAX).await?.1.total, Some(1))?;
    let texts = select(&[aggregate(Aggregate::Min, "g"), aggregate(Aggregate::Max, "g")]);
    same("texts", read(&store, &all(), texts).await?, vec!["'b' 'ä'".to_owned()])?;
    let days = select(&[aggregate(Aggregate::Min, "day"), aggregate(Aggregate::Max, "day")]);
    same("days", read(&store, &all(), days).await?, vec!["0999-12-31 2026-02-28".to_owned()])?;
    let by_day = select(&[Value::Row("day".into()), Value::Rows]);
    let expected = ["0999-12-31 1", "2026-02-28 1", "null 4"].map(str::to_owned).to_vec();
    same("by day", read(&store, &all(), by_day).await?, expected)?;
    equal_values_that_differ_are_one_group(&store).await
}

/// However they are written, and in the order of their values.
async fn equal_values_that_differ_are_one_group(store: &Arc<dyn Store>) -> Outcome {
    let rows = r#"[{"d":10.0},{"d":9.50},{"d":-1.10},{"d":9.5},{"d":-1.1},{"d":0.00},{"d":0},{"d":10},
        {"l":["b"]},{"l":["a","\u00e4"]},{"l":[]},{"l":["a","ä"]},{"l":["a,b"]}]"#;
    store.record(batch(1, 2, vec![event(2, "b", rows)])).await?;
    let known = |name: &str| Filter::Not(Box::new(compare(name, Compare::IsNull)));
    let by = |name: &str| only_if(select(&[Value::Row(name.into()), Value::Rows]), known(name));
    let decimals = ["-1.1m 2", "0m 2", "9.5m 2", "10m 2"].map(str::to_owned).to_vec();
    same("decimals", read(store, &all(), by("d")).await?, decimals)?;
    let counted = Select { count: Count::Exact, limit: 1, ..by("d") };
    same("how many", read_up_to(store, &all(), counted, usize::MAX).await?.1.total, Some(4))?;
    let lists = [r#"texts:["a","ä"] 2"#, r#"texts:["a,b"] 1"#, r#"texts:["b"] 1"#, "texts:[] 1"]
        .map(str::to_owned)
        .to_vec();
    same("lists", read(store, &all(), by("l")).await?, lists)?;
    let ends = select(&[aggregate(Aggregate::Min, "d"), aggregate(Aggregate::Max, "d")]);
    same("the least and the greatest", read(store, &all(), ends).await?, vec!["-1.1m 10m".to_owned()])
}

async fn groups_come_in_the_order_of_their_aggregates(factory: Arc<dyn Factory>) -> Outcome {
    let rows = r#"[{"g":"a","n":9,"d":9.5,"f":1.5},{"g":"b","n":100,"d":-100,"f":-0.0},{"g":"b","n":1,"d":0.25},
        {"g":"c"},{"g":"d","n":-5,"d":10.00,"f":0.0},{"g":"e","n":9,"d":9.50,"f":2.5}]"#;
    let store = with(factory, rows).await?;
    let ordered = async |by: Value, descending: bool, nulls| -> Outcome<String> {
        let order = vec![crate::OrderBy { column: by.clone(), descending, nulls }];
        let found = read(&store, &all(), Select { order, ..select(&[by, Value::Row("g".into())]) }).await?;
        let groups = found.iter().filter_map(|row| row.rsplit('\'').nth(1));
        Ok(groups.collect())
    };
    for (by, upward, downward) in [
        (Value::Rows, "acdeb", "bacde"),
        (aggregate(Aggregate::Count, "n"), "cadeb", "badec"),
        (aggregate(Aggregate::Sum, "n"), "daebc", "cbaed"),
        (aggregate(Aggregate::Sum, "d"), "baedc", "cdaeb"),
        (aggregate(Aggregate::Sum, "f"), "bdaec", "ceabd"),
        (aggregate(Aggregate::Avg, "n"), "daebc", "cbaed"),
        (aggregate(Aggregate::Avg, "d"), "baedc", "cdaeb"),
        (aggregate(Aggregate::Max, "d"), "baedc", "cdaeb"),
        (aggregate(Aggregate::Min, "f"), "bdaec", "ceabd"),
    ] {
        let what = format!("{by:?}");
        same(&what, ordered(by.clone(), false, Nulls::Last).await?, upward.to_owned())?;
        same(&what, ordered(by, true, Nulls::First).await?, downward.to_owned())?;
    }
    Ok(())
}

async fn sums_are_exact_and_bounded(factory: Arc<dyn Factory>) -> Outcome {
    let rows = r#"[{"n":9223372036854775807,"f":1.7e308},{"n":9223372036854775807},{"n":-5,"f":1.7e308}]"#;
    let store = with(factory, rows).await?;
    let sums = select(&[aggregate(Aggregate::Sum, "n"), aggregate(Aggregate::Avg, "n")]);
    let found = read(&store, &all(), sums).await?;
    same("beyond 64 bits", found, vec!["json:18446744073709551609 6.148914691236517e18".to_owned()])?;
    let decimals = r#"[{"d":99999999999999999999999999999999999999},{"d":99999999999999999999999999999999999999},
        {"d":-0.00000000000000000000000000000000000001},{"d":1.50}]"#;
    store.record(batch(1, 2, vec![event(2, "a", decimals)])).await?;
    let sums = select(&[aggregate(Aggregate::Sum, "d"), aggregate(Aggregate::Avg, "d")]);
    let found = read(&store, &all(), sums).await?;
    let (sum, avg) = (
        "199999999999999999999999999999999999999.49999999999999999999999999999999999999",
        200_000_000_000_000_000_000_000_000_000_000_000_000.0 / 4.0,
    );
    same("decimals", found, vec![format!("json:{sum} {avg:?}")])?;
    let sums = select(&[aggregate(Aggregate::Sum, "f")]);
    let result = store.select(&all(), sums, Box::new(Looks), super::super::rows::PATIENCE).await;
    refused("beyond the greatest float", result.map(|(selected, _)| selected), ErrorKind::Invalid)?;
    Ok(())
}

/// Looks at every cell and forgets it.
struct Looks;

impl RowSink for Looks {
    fn row(&mut self, cells: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        cells.for_each(drop);
        true
    }
}

async fn buckets_begin_at_multiples_of_their_length(factory: Arc<dyn Factory>) -> Outcome {
    let rows = r#"[{"at":"2024-01-01T00:59:59.999999Z"},{"at":"2024-01-01T01:00:00Z"},{"at":"2024-01-01T01:30:00Z"},
        {"at":"1969-12-31T23:59:59Z"},{"at":"0001-02-03T04:05:06Z"},{}]"#;
    let store = with(factory, rows).await?;
    let bucket = || Expr::Bucket { column: "at".to_owned(), micros: 3_600_000_000 };
    let hours = Select {
        order: vec![crate::OrderBy { column: bucket().into(), ..ascending("at", Nulls::Last) }],
        ..select(&[Value::Row(bucket()), Value::Rows])
    };
    let expected = [
        "0001-02-03T04:00:00Z 1",
        "1969-12-31T23:00:00Z 1",
        "2024-01-01T00:00:00Z 1",
        "2024-01-01T01:00:00Z 2",
        "null 1",
    ];
    same("hours", read(&store, &all(), hours).await?, expected.map(str::to_owned).to_vec())?;
    let seven = Expr::Bucket { column: "at".to_owned(), micros: 7 };
    let found = read(&store, &all(), select(&[Value::Row(seven)])).await?;
    same("seven microseconds", found[3].clone(), "1969-12-31T23:59:58.999994Z".to_owned())
}

async fn reading_goes_on_behind_a_row(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let keyed = r#"{"fields":[{"name":"g","type":"text","required":true},
        {"name":"n","type":"integer","required":true}],"key":["g","n"]}"#;
    store.define(&all(), &dataset("d"), &def(keyed), at(0)).await?;
    let rows = r#"[{"g":"b","n":2},{"g":"a","n":9},{"g":"b","n":1},{"g":"c","n":0},{"g":"a","n":3}]"#;
    store.record(batch(0, 1, vec![event(1, "a", rows)])).await?;
    let from = |g: &str, n, descending| Filter::From {
        values: vec![("g".into(), Operand::Text(g.to_owned())), ("n".into(), Operand::Integer(n))],
        descending,
    };
    let order = |down| match down {
        false => vec![ascending("g", Nulls::Last), ascending("n", Nulls::Last)],
        true => vec![descending("g", Nulls::First), descending("n", Nulls::First)],
    };
    for (g, n, down, expected) in [
        ("a", 9, false, "'a' 9|'b' 1|'b' 2|'c' 0"),
        ("b", 2, false, "'b' 2|'c' 0"),
        ("b", 1, true, "'b' 1|'a' 9|'a' 3"),
        ("c", 1, false, ""),
    ] {
        let select = Select { order: order(down), ..only_if(of(&["g", "n"]), from(g, n, down)) };
        same(&format!("{g} {n} {down}"), read(&store, &all(), select).await?.join("|"), expected.to_owned())?;
    }
    Ok(())
}

async fn what_cannot_be_computed_is_invalid(factory: Arc<dyn Factory>) -> Outcome {
    let store = with(factory, r#"{"n":1}"#).await?;
    let row = |name: &str| Value::Row(name.into());
    let bucket = |name: &str, micros| Value::Row(Expr::Bucket { column: name.to_owned(), micros });
    let mut by_sum = select(&[row("g"), Value::Rows]);
    by_sum.order = vec![ascending("n", Nulls::Last)];
    let mut row_by_count = select(&[row("g")]);
    row_by_count.order = vec![crate::OrderBy { column: Value::Rows, ..ascending("n", Nulls::Last) }];
    for wrong in [
        select(&[Value::Row(Expr::Part { column: "g".to_owned(), path: vec![member("a")], as_text: true })]),
        select(&[aggregate(Aggregate::Sum, "g")]),
        select(&[aggregate(Aggregate::Avg, "at")]),
        select(&[aggregate(Aggregate::Max, "j")]),
        select(&[aggregate(Aggregate::Min, "nope")]),
        select(&[row("j"), Value::Rows]),
        select(&[aggregate(Aggregate::Max, "l")]),
        select(&[bucket("n", 5)]),
        select(&[bucket("at", 0)]),
        by_sum,
        row_by_count,
    ] {
        let what = format!("{wrong:?}");
        let result = store.select(&all(), wrong, Box::new(Nothing), super::super::rows::PATIENCE).await;
        refused(&what, result.map(|(selected, _)| selected), ErrorKind::Invalid)?;
    }
    Ok(())
}
