//! What rows bring beyond the fields of their dataset, where it is kept.

use std::sync::Arc;

use super::super::Factory;
use super::super::kit::{Outcome, all, at, batch, dataset, def, event, refused, same, strings};
use super::super::rows::{PATIENCE, compare, of, only_if, read};
use super::case_list;
use super::select::Nothing;
use crate::error::ErrorKind;
use crate::evolve::Loss;
use crate::expr::{Arrow, Expr, Value};
use crate::model::Defined;
use crate::select::{Column, Compare, Filter, Operand, Select};
use crate::traits::Store;

case_list![
    what_rows_bring_beyond_the_fields_is_kept,
    keeping_begins_at_once_and_ends_with_leave,
    a_column_of_a_kept_name_leaves_what_was_kept,
];

fn keyed(fields: &str, unknown: &str) -> orderwire_types::dataset::DatasetDef {
    def(&format!(
        r#"{{"fields":[{{"name":"k","type":"integer","required":true}}{fields}],"key":["k"],"unknown":"{unknown}"}}"#
    ))
}

/// A part of what was kept.
fn kept(name: &str, as_text: bool) -> Expr {
    Expr::Part { column: "_extra".to_owned(), path: vec![Arrow::Member(name.to_owned())], as_text }
}

async fn what_rows_bring_beyond_the_fields_is_kept(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    store.define(&all(), &dataset("d"), &keyed("", "keep"), at(1)).await?;
    let rows = r#"[{"a":1.10,"k":1,"it's \"b\"":[9007199254740993, 1.0e5],"c":null},{"k":2},
        {"k":3,"_extra":{"a":1.10,"k":"x"},"z":"\u00e9"}]"#;
    store.record(batch(0, 1, vec![event(1, "a", rows)])).await?;
    drop(store);
    let store = factory.open().await?;
    let mut expected = strings(&[
        r#"1 json:{"a":1.10,"it's \"b\"":[9007199254740993, 1.0e5],"c":null}"#,
        "2 null",
        r#"3 json:{"a":1.10,"k":"x","z":"\u00e9"}"#,
    ]);
    same("rows", read(&store, &all(), of(&["k", "_extra"])).await?, expected.clone())?;
    let part = |expr: Expr| Select {
        columns: vec![Column { value: Value::Row(expr), alias: "p".into() }],
        ..of(&[])
    };
    let found = read(&store, &all(), part(kept("a", false))).await?;
    same("parts", found, strings(&["json:1.10", "null", "json:1.10"]))?;
    let is = |name: &str, text: &str| Filter::Compare {
        column: kept(name, true),
        compare: Compare::Eq(Operand::Text(text.to_owned())),
    };
    same("by a part", read(&store, &all(), only_if(of(&["k"]), is("z", "é"))).await?, strings(&["3"]))?;
    let none = only_if(of(&["k"]), compare("_extra", Compare::IsNull));
    same("nothing kept", read(&store, &all(), none).await?, strings(&["2"]))?;
    // A row in the place of another one has what it brings itself.
    store.record(batch(1, 2, vec![event(2, "a", r#"[{"k":1},{"k":2,"n":5}]"#)])).await?;
    expected = strings(&[r#"3 json:{"a":1.10,"k":"x","z":"\u00e9"}"#, "1 null", r#"2 json:{"n":5}"#]);
    same("replaced", read(&store, &all(), of(&["k", "_extra"])).await?, expected)
}

async fn keeping_begins_at_once_and_ends_with_leave(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let name = dataset("d");
    store.define(&all(), &name, &keyed("", "reject"), at(1)).await?;
    store.record(batch(0, 1, vec![event(1, "a", r#"{"k":1}"#)])).await?;
    refused("a column that is not there", extra(&store).await, ErrorKind::Invalid)?;
    store.define(&all(), &name, &keyed("", "keep"), at(2)).await?;
    store.record(batch(1, 2, vec![event(2, "a", r#"{"k":2,"x":1}"#)])).await?;
    let kept = strings(&["1 null", r#"2 json:{"x":1}"#]);
    same("kept", read(&store, &all(), of(&["k", "_extra"])).await?, kept)?;
    for unknown in ["reject", "ignore"] {
        let next = keyed("", unknown);
        refused(unknown, store.define(&all(), &name, &next, at(3)).await, ErrorKind::Conflict)?;
    }
    let changed = store.evolve(&all(), &name, &keyed("", "reject"), Loss::Allowed, at(10)).await?;
    same("ended", changed, Defined::Changed)?;
    drop(store);
    let store = factory.open().await?;
    refused("it is gone", extra(&store).await, ErrorKind::Invalid)?;
    // What was accepted before is recorded, without what is kept no more.
    store.record(batch(2, 3, vec![event(3, "a", r#"{"k":3,"x":1}"#)])).await?;
    store.define(&all(), &name, &keyed("", "keep"), at(20)).await?;
    let gone = strings(&["1 null", "2 null", "3 null"]);
    same("again", read(&store, &all(), of(&["k", "_extra"])).await?, gone)
}

async fn extra(store: &Arc<dyn Store>) -> Result<(), crate::error::Error> {
    store.select(&all(), of(&["_extra"]), Box::new(Nothing), PATIENCE).await.map(|_| ())
}

async fn a_column_of_a_kept_name_leaves_what_was_kept(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let name = dataset("d");
    store.define(&all(), &name, &keyed("", "keep"), at(1)).await?;
    let rows = r#"[{"k":1,"n":"x","m":1},{"k":2,"n":7}]"#;
    store.record(batch(0, 1, vec![event(1, "a", rows)])).await?;
    let next = keyed(
        r#",{"name":"n","type":"integer"},{"name":"d","type":"integer","required":true,"default":4}"#,
        "keep",
    );
    store.define(&all(), &name, &next, at(100)).await?;
    let late = |n: u128, rows: &str| {
        let mut event = event(n, "a", rows);
        event.accepted_at = at(200);
        event
    };
    // Accepted before: what fits is the column's, what does not stays kept.
    let before = event(2, "a", r#"[{"k":3,"n":"y","d":"z"},{"k":4,"n":8}]"#);
    store.record(batch(1, 2, vec![before, late(3, r#"{"k":5,"n":9,"m":2}"#)])).await?;
    drop(store);
    let store = factory.open().await?;
    let expected = strings(&[
        r#"1 null 4 json:{"n":"x","m":1}"#,
        r#"2 null 4 json:{"n":7}"#,
        r#"3 null 4 json:{"n":"y","d":"z"}"#,
        "4 8 4 null",
        r#"5 9 4 json:{"m":2}"#,
    ]);
    same("rows", read(&store, &all(), of(&["k", "n", "d", "_extra"])).await?, expected)?;
    let wrong = store.record(batch(2, 3, vec![late(4, r#"{"k":6,"n":"x"}"#)])).await;
    same("a row of now", refused("a text", wrong, ErrorKind::Invalid)?.entry(), Some(0))
}
