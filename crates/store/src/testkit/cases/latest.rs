//! The newest row of each key.

use std::sync::Arc;

use super::super::Factory;
use super::super::kit::{Outcome, all, at, batch, dataset, def, event, only, refused, same};
use super::super::rows::{PATIENCE, compare, descending, of, only_if, read, read_up_to};
use super::case_list;
use super::select::Nothing;
use crate::error::ErrorKind;
use crate::expr::{Aggregate, Value};
use crate::model::RowsEvent;
use crate::select::{Column, Compare, Count, Filter, Nulls, Operand, Select};
use crate::traits::Store;

case_list![
    the_newest_row_of_each_key_is_found,
    rows_without_a_time_or_a_key_have_their_newest,
    the_newest_rows_are_counted_and_grouped,
];

/// Datasets and their keys: whether there is an index of key and time makes no difference.
const KEYS: [(&str, &str); 3] = [("d", r#","key":["s","at"]"#), ("e", r#","key":["at","s"]"#), ("f", "")];

/// The same rows in each of these datasets; `n` tells them apart.
async fn timed(factory: Arc<dyn Factory>) -> Outcome<Arc<dyn Store>> {
    let store = factory.open().await?;
    let row = |s: &str, second: u32, n: u32| {
        format!(r#"{{"s":"{s}","at":"2026-01-01T00:00:{second:02}Z","n":{n}}}"#)
    };
    let of_clients = [
        ("a", vec![row("x", 5, 1), row("x", 3, 2), row("y", 1, 3), row("É", 1, 4)]),
        ("b", vec![row("x", 9, 5), row("z", 2, 6), row("z", 4, 7)]),
        ("c", vec![row("y", 7, 8), row("y", 6, 9)]),
    ];
    let mut events = Vec::new();
    for (name, key) in KEYS {
        let fields = r#"{"name":"s","type":"text","required":true},
            {"name":"at","type":"timestamp","required":true},{"name":"n","type":"integer"}"#;
        let definition = def(&format!(r#"{{"fields":[{fields}],"time":"at"{key}}}"#));
        store.define(&all(), &dataset(name), &definition, at(0)).await?;
        for (owner, rows) in &of_clients {
            let rows = format!("[{}]", rows.join(","));
            let event = event(1 + events.len() as u128, owner, &rows);
            events.push(RowsEvent { dataset: dataset(name), ..event });
        }
    }
    store.record(batch(0, 1, events)).await?;
    Ok(store)
}

fn latest(of: &[&str], select: Select) -> Select {
    Select { latest: of.iter().map(|&name| name.to_owned()).collect(), ..select }
}

fn text(column: &str, text: &str) -> Filter {
    compare(column, Compare::Eq(Operand::Text(text.to_owned())))
}

async fn the_newest_row_of_each_key_is_found(factory: Arc<dyn Factory>) -> Outcome {
    let is = |n| compare("n", Compare::Eq(Operand::Integer(n)));
    let not = |filter| Filter::Not(Box::new(filter));
    let both = |a, b| Filter::And(vec![a, b]);
    let early =
        compare("at", Compare::Lt(Operand::Timestamp("2026-01-01T00:00:06Z".parse().expect("valid"))));
    let store = timed(factory).await?;
    for (name, _) in KEYS {
        let newest = |key: &[&str]| Select { dataset: dataset(name), ..latest(key, of(&["n"])) };
        for (scope, filter, expected) in [
            (all(), Filter::And(Vec::new()), "1 3 4 5 7 8"),
            (only(&["a"]), Filter::And(Vec::new()), "1 3 4"),
            (only(&["a", "c", "nobody"]), Filter::And(Vec::new()), "1 3 4 8"),
            (only(&[]), Filter::And(Vec::new()), ""),
            // What is left out by a condition lets what is older be the newest.
            (all(), not(is(1)), "2 3 4 5 7 8"),
            (all(), early.clone(), "1 3 4 7"),
            (all(), text("s", "x"), "1 5"),
            (all(), both(text("_client", "b"), not(text("s", "x"))), "7"),
            (only(&["a"]), text("_client", "b"), ""),
            (all(), Filter::Or(vec![text("s", "É"), is(9)]), "4 9"),
            (all(), Filter::Or(Vec::new()), ""),
        ] {
            let what = format!("{name} {:?} {filter:?}", scope.clients);
            let select = only_if(newest(&["s"]), filter);
            same(&what, read(&store, &scope, select).await?.join(" "), expected.to_owned())?;
        }
        let select = newest(&["s", "n"]);
        same("two columns", read(&store, &all(), select).await?.len(), 9)?;
        let select = newest(&["_client"]);
        same("a hidden one", read(&store, &all(), select).await?.join(" "), "1 5 8".to_owned())?;
        let result = store.select(&all(), newest(&["nope"]), Box::new(Nothing), PATIENCE).await;
        refused("an unknown column", result.map(|(selected, _)| selected), ErrorKind::Invalid)?;
    }
    Ok(())
}

async fn rows_without_a_time_or_a_key_have_their_newest(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let fields = r#"{"name":"d","type":"decimal"},{"name":"at","type":"timestamp"},
        {"name":"n","type":"integer"},{"name":"j","type":"json"}"#;
    store
        .define(&all(), &dataset("d"), &def(&format!(r#"{{"fields":[{fields}],"time":"at"}}"#)), at(0))
        .await?;
    let rows = r#"[{"d":1.0,"n":1,"at":"2026-01-01T00:00:01Z"},{"d":1.00,"n":2,"at":"2026-01-01T00:00:01Z"},
        {"d":1,"n":3},{"d":2,"n":4},{"d":2,"n":5},{"n":6,"at":"2026-01-01T00:00:01Z"},{"n":7}]"#;
    store.record(batch(0, 1, vec![event(1, "a", rows)])).await?;
    let found = read(&store, &all(), latest(&["d"], of(&["n"]))).await?.join(" ");
    same("ties by arrival, no time last, no value a key", found, "2 5 6".to_owned())?;
    let result = store.select(&all(), latest(&["j"], of(&["n"])), Box::new(Nothing), PATIENCE).await;
    refused("json", result.map(|(selected, _)| selected), ErrorKind::Invalid)?;

    let plain = def(&format!(r#"{{"fields":[{fields}]}}"#));
    store.define(&all(), &dataset("e"), &plain, at(0)).await?;
    let mut row = event(2, "a", r#"[{"d":1,"n":1},{"d":1,"n":2}]"#);
    row.dataset = dataset("e");
    store.record(batch(1, 2, vec![row])).await?;
    let select = Select { dataset: dataset("e"), ..latest(&["d"], of(&["n"])) };
    same("without a time", read(&store, &all(), select).await?.join(" "), "2".to_owned())
}

async fn the_newest_rows_are_counted_and_grouped(factory: Arc<dyn Factory>) -> Outcome {
    let store = timed(factory).await?;
    for (name, _) in KEYS {
        let newest = |columns: &[&str]| Select { dataset: dataset(name), ..latest(&["s"], of(columns)) };
        let order = vec![descending("n", Nulls::Last)];
        let page = Select { order, limit: 2, offset: 1, count: Count::Exact, ..newest(&["n"]) };
        let (found, selected) = read_up_to(&store, &all(), page, usize::MAX).await?;
        same("a page", (found.join(" "), selected.total), ("7 5".to_owned(), Some(6)))?;
        let columns = [Value::Row("s".into()), Value::Rows, Value::Of(Aggregate::Sum, "n".into())];
        let columns = columns.map(|value| Column { value, alias: "x".to_owned() }).to_vec();
        let groups = Select { columns, count: Count::Exact, limit: 1, ..newest(&[]) };
        let (found, selected) = read_up_to(&store, &all(), groups, usize::MAX).await?;
        let expected = ("'x' 2 json:6".to_owned(), Some(4));
        same("groups", (found.join(" "), selected.total), expected)?;
    }
    Ok(())
}
