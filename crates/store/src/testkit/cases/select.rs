//! Conditions, order and pages.

use std::sync::Arc;

use super::super::Factory;
use super::super::kit::{Outcome, all, at, batch, dataset, def, event, refused, same};
use super::super::rows::{ascending, compare, descending, of, only_if, read, read_up_to};
use super::case_list;
use super::record::numbers;
use super::values::TYPES;
use crate::error::ErrorKind;
use crate::select::{Column, Compare, Count, Filter, Nulls, Operand, Select, Selected};
use crate::traits::Store;

case_list![
    comparisons_hold_for_every_type,
    null_is_neither_in_a_comparison_nor_in_its_negation,
    conditions_combine,
    text_compares_by_code_point,
    patterns_match_text,
    rows_come_in_the_order_asked_for,
    nulls_stand_where_asked_for,
    pages_and_counts_agree,
    a_sink_ends_the_read,
    wrong_columns_and_values_are_invalid,
];

pub(super) fn ordered_by(select: Select, column: &str) -> Select {
    Select { order: vec![ascending(column, Nulls::Last)], ..select }
}

fn moment(text: &str) -> Operand {
    Operand::Timestamp(text.parse().expect("times in cases are valid"))
}

fn text(text: &str) -> Operand {
    Operand::Text(text.to_owned())
}

/// Rows 1 to 4 of every type, 4 without values; `i` tells them apart.
async fn typed(store: &Arc<dyn Store>) -> Outcome {
    store.define(&all(), &dataset("d"), &def(TYPES), at(0)).await?;
    let rows = r#"[
        {"i":1,"t":"apple","f":-1.5,"b":false,"at":"2024-01-01T00:00:00Z","j":"1"},
        {"i":2,"t":"Äpfel","f":0.0,"b":true,"at":"2024-06-01T00:00:00.5Z","j":"2"},
        {"i":3,"t":"pear","f":2.25,"b":true,"at":"2025-01-01T00:00:00Z","j":"3"},
        {"i":4}]"#;
    store.record(batch(0, 1, vec![event(1, "a", rows)])).await?;
    Ok(())
}

/// Which of the rows match.
async fn matching(store: &Arc<dyn Store>, filter: Filter) -> Outcome<String> {
    Ok(read(store, &all(), ordered_by(only_if(of(&["i"]), filter), "i")).await?.join(","))
}

async fn comparisons_hold_for_every_type(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    typed(&store).await?;
    let middle = [
        ("t", text("pear"), "3", "1", "2"),
        ("i", Operand::Integer(2), "2", "1", "3,4"),
        ("f", Operand::Float(0.0), "2", "1", "3"),
        ("at", moment("2024-06-01T00:00:00.5Z"), "2", "1", "3"),
        ("j", text("\"2\""), "2", "1", "3"),
        ("b", Operand::Boolean(true), "2,3", "1", ""),
    ];
    for (column, value, equal, less, greater) in middle {
        let join = |parts: [&str; 2]| {
            let mut all: Vec<&str> =
                parts.iter().flat_map(|part| part.split(',')).filter(|part| !part.is_empty()).collect();
            all.sort_unstable();
            all.join(",")
        };
        for (what, filter, expected) in [
            ("eq", Compare::Eq(value.clone()), equal.to_owned()),
            ("neq", Compare::Neq(value.clone()), join([less, greater])),
            ("lt", Compare::Lt(value.clone()), less.to_owned()),
            ("lte", Compare::Lte(value.clone()), join([less, equal])),
            ("gt", Compare::Gt(value.clone()), greater.to_owned()),
            ("gte", Compare::Gte(value.clone()), join([equal, greater])),
            ("in", Compare::In(vec![value.clone(), value.clone()]), equal.to_owned()),
        ] {
            let found = matching(&store, compare(column, filter)).await?;
            same(&format!("{column} {what} {value:?}"), found, expected)?;
        }
    }
    for (wanted, expected) in [(true, "2,3"), (false, "1")] {
        same("is", matching(&store, compare("b", Compare::Is(wanted))).await?, expected.to_owned())?;
    }
    same("in nothing", matching(&store, compare("i", Compare::In(Vec::new()))).await?, String::new())?;
    // Values that no row can have compare all the same.
    let (nul, long_ago) = (|| text("pear\0"), || moment("-009999-06-01T00:00:00Z"));
    for (column, filter, expected) in [
        ("t", Compare::Eq(nul()), ""),
        ("t", Compare::Neq(nul()), "1,2,3"),
        ("t", Compare::Lt(nul()), "1,3"),
        ("t", Compare::Lte(nul()), "1,3"),
        ("t", Compare::Gt(nul()), "2"),
        ("t", Compare::Gte(nul()), "2"),
        ("t", Compare::In(vec![nul(), text("pear")]), "3"),
        ("t", Compare::In(vec![nul()]), ""),
        ("j", Compare::Gt(text("\"1\"\0")), "2,3"),
        ("at", Compare::Gt(long_ago()), "1,2,3"),
        ("at", Compare::Lte(long_ago()), ""),
        ("at", Compare::In(vec![long_ago(), moment("2025-01-01T01:00:00+01:00")]), "3"),
        ("f", Compare::Lt(Operand::Float(f64::INFINITY)), "1,2,3"),
        ("f", Compare::Gt(Operand::Float(f64::NEG_INFINITY)), "1,2,3"),
        ("f", Compare::Eq(Operand::Float(-0.0)), "2"),
    ] {
        let what = format!("{column} {filter:?}");
        same(&what, matching(&store, compare(column, filter)).await?, expected.to_owned())?;
    }
    Ok(())
}

async fn null_is_neither_in_a_comparison_nor_in_its_negation(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    typed(&store).await?;
    let not = |filter| Filter::Not(Box::new(filter));
    let like = |ignore_case| Compare::Like { pattern: "p%".to_owned(), ignore_case };
    for (what, filter, expected) in [
        ("not eq", not(compare("t", Compare::Eq(text("pear")))), "1,2"),
        ("not in", not(compare("f", Compare::In(vec![Operand::Float(0.0)]))), "1,3"),
        ("not in nothing", not(compare("f", Compare::In(Vec::new()))), "1,2,3,4"),
        ("not what no row can be", not(compare("t", Compare::Eq(text("\0")))), "1,2,3"),
        ("not in what no row can be", not(compare("t", Compare::In(vec![text("\0")]))), "1,2,3"),
        ("not like", not(compare("t", like(false))), "1,2"),
        ("not ilike", not(compare("t", like(true))), "1,2"),
        ("is null", compare("at", Compare::IsNull), "4"),
        ("is not null", not(compare("at", Compare::IsNull)), "1,2,3"),
        // Is never unknown, so that its negation holds for null.
        ("not is", not(compare("b", Compare::Is(true))), "1,4"),
        (
            "unknown or true",
            Filter::Or(vec![
                compare("t", Compare::Eq(text("x"))),
                compare("i", Compare::Eq(Operand::Integer(4))),
            ]),
            "4",
        ),
    ] {
        same(what, matching(&store, filter).await?, expected.to_owned())?;
    }
    Ok(())
}

async fn conditions_combine(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    typed(&store).await?;
    let is = |n| compare("i", Compare::Eq(Operand::Integer(n)));
    let below = |n| compare("i", Compare::Lt(Operand::Integer(n)));
    for (what, filter, expected) in [
        ("all of none", Filter::And(Vec::new()), "1,2,3,4"),
        ("one of none", Filter::Or(Vec::new()), ""),
        ("not one of none", Filter::Not(Box::new(Filter::Or(Vec::new()))), "1,2,3,4"),
        ("an or within an and", Filter::And(vec![Filter::Or(vec![is(1), is(3)]), below(3)]), "1"),
        ("an and within an or", Filter::Or(vec![is(4), Filter::And(vec![is(1), below(3)])]), "1,4"),
        ("a not of an or", Filter::Not(Box::new(Filter::Or(vec![is(1), is(4)]))), "2,3"),
        ("a not before an and", Filter::And(vec![Filter::Not(Box::new(is(1))), below(3)]), "2"),
    ] {
        same(what, matching(&store, filter).await?, expected.to_owned())?;
    }
    let mut deep = is(2);
    for _ in 0..20 {
        deep = Filter::Not(Box::new(Filter::And(vec![deep])));
    }
    same("nested", matching(&store, deep).await?, "2".to_owned())
}

async fn words(store: &Arc<dyn Store>) -> Outcome {
    let words = r#"{"fields":[{"name":"w","type":"text","required":true}],"key":["w"]}"#;
    store.define(&all(), &dataset("d"), &def(words), at(0)).await?;
    let rows = r#"[{"w":"b"},{"w":"a"},{"w":"B"},{"w":"ä"},{"w":"Ä"},{"w":"a%b"},{"w":"a_b"},{"w":"a\\b"},
        {"w":"𝄞"},{"w":"\uffee"},{"w":""},{"w":"Straße"},{"w":"a\nb"}]"#;
    store.record(batch(0, 1, vec![event(1, "a", rows)])).await?;
    Ok(())
}

async fn text_compares_by_code_point(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    words(&store).await?;
    let found = read(&store, &all(), ordered_by(of(&["w"]), "w")).await?;
    let mut expected = ["b", "a", "B", "ä", "Ä", "a%b", "a_b", "a\\b", "𝄞", "\u{ffee}", "", "Straße", "a\nb"];
    expected.sort_unstable();
    same("order", found, expected.iter().map(|word| format!("'{word}'")).collect())?;
    let equal = only_if(of(&["w"]), compare("w", Compare::Eq(text("ä"))));
    same("equal", read(&store, &all(), equal).await?, vec!["'ä'".to_owned()])?;
    let above = only_if(of(&["w"]), compare("w", Compare::Gt(text("\u{ffee}"))));
    same("beyond the basic plane", read(&store, &all(), above).await?, vec!["'𝄞'".to_owned()])
}

async fn patterns_match_text(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    words(&store).await?;
    for (pattern, ignore_case, expected) in [
        ("b", false, "'b'"),
        ("b", true, "'B' 'b'"),
        ("a%", false, "'a' 'a\nb' 'a%b' 'a\\b' 'a_b'"),
        ("a_b", false, "'a\nb' 'a%b' 'a\\b' 'a_b'"),
        (r"a\_b", false, "'a_b'"),
        (r"a\%b", false, "'a%b'"),
        (r"a\\b", false, r"'a\b'"),
        ("A%B", true, "'a\nb' 'a%b' 'a\\b' 'a_b'"),
        ("ä", false, "'ä'"),
        ("ä", true, "'Ä' 'ä'"),
        ("_", false, "'B' 'a' 'b' 'Ä' 'ä' '\u{ffee}' '𝄞'"),
        ("%ra%e", false, "'Straße'"),
        ("%RA%E", false, ""),
        ("straße", true, "'Straße'"),
        ("", false, "''"),
        ("a", false, "'a'"),
        ("*", false, ""),
        // A backslash at the end, and one before what means nothing.
        ("a\\", false, ""),
        (r"\a\\\b", false, r"'a\b'"),
        (r"%\", true, ""),
        ("a\0%", false, ""),
        ("a\0%", true, ""),
        // What would mean something in a regular expression.
        (".", true, ""),
        ("a.b", true, ""),
        ("[ab]", true, ""),
        ("(a|b)%", true, ""),
        ("%\\U00000061%", true, ""),
        // Case is folded one character by one, beyond ASCII, too.
        ("STRAẞE", true, "'Straße'"),
        ("strasse", true, ""),
        ("ſtraße", true, "'Straße'"),
        ("_Tra%", true, "'Straße'"),
    ] {
        let like = Compare::Like { pattern: pattern.to_owned(), ignore_case };
        let found = read(&store, &all(), ordered_by(only_if(of(&["w"]), compare("w", like)), "w")).await?;
        same(&format!("{pattern:?}, ignore case: {ignore_case}"), found.join(" "), expected.to_owned())?;
    }
    Ok(())
}

async fn rows_come_in_the_order_asked_for(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    store
        .define(
            &all(),
            &dataset("d"),
            &def(r#"{"fields":[{"name":"g","type":"text"},
        {"name":"n","type":"integer"}]}"#),
            at(0),
        )
        .await?;
    let rows = r#"[{"g":"y","n":1},{"g":"x","n":3},{"g":"y","n":2},{"g":"x","n":2},{"g":"y","n":2}]"#;
    store.record(batch(0, 1, vec![event(1, "a", rows)])).await?;
    let texts = |rows: [&str; 5]| rows.iter().map(|&row| row.to_owned()).collect::<Vec<_>>();
    let by = |order| Select { order, ..of(&["g", "n"]) };
    same(
        "by arrival",
        read(&store, &all(), by(Vec::new())).await?,
        texts(["'y' 1", "'x' 3", "'y' 2", "'x' 2", "'y' 2"]),
    )?;
    let two = vec![ascending("g", Nulls::Last), descending("n", Nulls::Last)];
    same(
        "by two",
        read(&store, &all(), by(two)).await?,
        texts(["'x' 3", "'x' 2", "'y' 2", "'y' 2", "'y' 1"]),
    )?;
    // Ties go by arrival, whichever way the order runs.
    let seqs = |order| Select { order, ..of(&["n", "_seq"]) };
    let found = read(&store, &all(), seqs(vec![descending("n", Nulls::First)])).await?;
    let ties: Vec<i64> = found[1..4].iter().filter_map(|row| row.strip_prefix("2 ")?.parse().ok()).collect();
    same("ties", (ties.len(), ties.is_sorted()), (3, true))?;
    let backwards = read(&store, &all(), by(vec![descending("_seq", Nulls::Last)])).await?;
    same("backwards", backwards, texts(["'y' 2", "'x' 2", "'y' 2", "'x' 3", "'y' 1"]))
}

async fn nulls_stand_where_asked_for(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    store.define(&all(), &dataset("d"), &def(r#"{"fields":[{"name":"n","type":"float"}]}"#), at(0)).await?;
    store.record(batch(0, 1, vec![event(1, "a", r#"[{"n":2},{},{"n":1},{}]"#)])).await?;
    for (order, expected) in [
        (ascending("n", Nulls::First), "null null 1.0 2.0"),
        (ascending("n", Nulls::Last), "1.0 2.0 null null"),
        (descending("n", Nulls::First), "null null 2.0 1.0"),
        (descending("n", Nulls::Last), "2.0 1.0 null null"),
    ] {
        let what = format!("{order:?}");
        let found = read(&store, &all(), Select { order: vec![order], ..of(&["n"]) }).await?;
        same(&what, found.join(" "), expected.to_owned())?;
    }
    Ok(())
}

async fn pages_and_counts_agree(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    let rows: Vec<String> = (0..10).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    store.record(batch(0, 1, vec![event(1, "a", &format!("[{}]", rows.join(",")))])).await?;
    let odd_one_out = compare("n", Compare::Neq(Operand::Integer(0)));
    for (limit, offset, expected) in [
        (3, 0, "1 2 3"),
        (3, 3, "4 5 6"),
        (100, 7, "8 9"),
        (9, 0, "1 2 3 4 5 6 7 8 9"),
        (2, 9, ""),
        (2, 100, ""),
        (0, 0, ""),
    ] {
        for count in [Count::None, Count::Exact] {
            let page = Select { limit, offset, count, ..only_if(of(&["n"]), odd_one_out.clone()) };
            let (found, selected) = read_up_to(&store, &all(), page, usize::MAX).await?;
            let what = format!("limit {limit} offset {offset} {count:?}");
            let rows = found.len() as u64;
            let total = (count == Count::Exact).then_some(9);
            same(&what, found.join(" "), expected.to_owned())?;
            same(&what, selected, Selected { rows, total, cut: false })?;
        }
    }
    Ok(())
}

async fn a_sink_ends_the_read(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    store.record(batch(0, 1, vec![event(1, "a", r#"[{"n":1},{"n":2},{"n":3}]"#)])).await?;
    let counted = Select { count: Count::Exact, ..of(&["n"]) };
    let (found, selected) = read_up_to(&store, &all(), counted.clone(), 2).await?;
    same("rows", found.join(" "), "1 2".to_owned())?;
    same("cut", selected, Selected { rows: 2, total: Some(3), cut: true })?;
    let (_, selected) = read_up_to(&store, &all(), counted, 3).await?;
    same("a sink that is just full", selected, Selected { rows: 3, total: Some(3), cut: false })
}

async fn wrong_columns_and_values_are_invalid(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    typed(&store).await?;
    let column = |name: &str| Column::named(name, "x");
    for name in ["nope", "T", "", "*", "rowid", "_row", "t\" --", "_SEQ"] {
        let equal = compare(name, Compare::Eq(text("x")));
        for select in [
            Select { columns: vec![column(name)], ..of(&[]) },
            only_if(of(&["t"]), equal.clone()),
            only_if(of(&["t"]), Filter::Not(Box::new(Filter::Or(vec![equal])))),
            ordered_by(of(&["t"]), name),
        ] {
            let what = format!("{select:?}");
            let sink = Box::new(Nothing);
            let result = store.select(&all(), select, sink, super::super::rows::PATIENCE).await;
            refused(&what, result.map(|(selected, _)| selected), ErrorKind::Invalid)?;
        }
    }
    for (name, wrong) in [
        ("t", Compare::Eq(Operand::Integer(1))),
        ("i", Compare::In(vec![Operand::Integer(1), text("1")])),
        ("f", Compare::Lt(Operand::Integer(1))),
        ("b", Compare::Eq(Operand::Integer(1))),
        ("at", Compare::Gt(text("2024"))),
        ("_event_id", Compare::Eq(text("x"))),
        ("i", Compare::Like { pattern: "1".to_owned(), ignore_case: false }),
        ("i", Compare::Is(true)),
    ] {
        let what = format!("{name} {wrong:?}");
        let select = only_if(of(&["t"]), compare(name, wrong));
        let result = store.select(&all(), select, Box::new(Nothing), super::super::rows::PATIENCE).await;
        refused(&what, result.map(|(selected, _)| selected), ErrorKind::Invalid)?;
    }
    Ok(())
}

/// Takes every row and forgets it.
pub(super) struct Nothing;

impl crate::select::RowSink for Nothing {
    fn row(&mut self, _: &mut dyn Iterator<Item = crate::select::Cell<'_>>) -> bool {
        true
    }
}
