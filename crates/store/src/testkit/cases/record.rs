//! Recording: once, whole or not at all, in order.

use std::sync::Arc;

use orderwire_types::identity;

use super::super::Factory;
use super::super::kit::{Outcome, all, at, batch, dataset, def, event, holds, id, refused, same, sweep};
use super::super::rows::{compare, of, only_if, read};
use super::case_list;
use crate::error::ErrorKind;
use crate::model::{Recording, RowsRecorded};
use crate::select::{Compare, Operand};
use crate::traits::Store;

case_list![
    a_batch_is_recorded_once_however_often_it_comes,
    a_batch_from_another_position_changes_nothing,
    a_faulty_event_refuses_the_whole_batch,
    a_row_takes_the_place_of_the_one_with_its_key,
    a_row_keeps_the_place_of_the_one_with_its_key,
    every_row_has_its_hidden_columns,
    seq_only_grows,
    a_reader_skips_from_its_position_only,
    readers_record_at_the_same_time,
    generation_changes_with_every_change,
    a_store_keeps_its_name,
];

const NUMBERS: &str = r#"{"fields":[{"name":"n","type":"integer","required":true}]}"#;

pub(super) async fn numbers(store: &Arc<dyn Store>) -> Outcome {
    store.define(&all(), &dataset("d"), &def(NUMBERS), at(0)).await?;
    Ok(())
}

/// What became of an event with so many rows.
pub(super) fn new(rows: u64) -> RowsRecorded {
    RowsRecorded { rows, written: rows, ..RowsRecorded::default() }
}

pub(super) fn texts(rows: &[&str]) -> Vec<String> {
    rows.iter().map(|&row| row.to_owned()).collect()
}

async fn a_batch_is_recorded_once_however_often_it_comes(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    same("no position yet", store.position("data").await?, 0)?;
    let twice = batch(0, 7, vec![event(1, "a", r#"[{"n":1},{"n":2}]"#), event(2, "a", r#"{"n":3}"#)]);
    let done = store.record(twice.clone()).await?;
    same("done", done, vec![new(2), new(1)])?;
    refused("at once again", store.record(twice.clone()).await, ErrorKind::Conflict)?;
    drop(store);
    let store = factory.open().await?;
    same("position", store.position("data").await?, 7)?;
    refused("after opening again", store.record(twice.clone()).await, ErrorKind::Conflict)?;
    same("rows", read(&store, &all(), of(&["n"])).await?, texts(&["1", "2", "3"]))?;
    // Another reader has a position of its own.
    same("of another reader", store.position("other").await?, 0)?;
    store.record(batch(7, 8, vec![event(3, "a", "[]")])).await?;
    same("rows after an empty event", read(&store, &all(), of(&["n"])).await?, texts(&["1", "2", "3"]))
}

async fn a_batch_from_another_position_changes_nothing(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    let ahead = store.record(batch(3, 4, vec![event(1, "a", r#"{"n":1}"#)])).await;
    refused("ahead of the position", ahead, ErrorKind::Conflict)?;
    same("rows", read(&store, &all(), of(&["n"])).await?, Vec::new())?;
    same("position", store.position("data").await?, 0)?;
    let view = store.trace(&all(), id(1_001)).await?;
    same("trace", view.steps.len(), 0)
}

async fn a_faulty_event_refuses_the_whole_batch(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    let good = || event(1, "a", r#"{"n":1}"#);
    for faulty in [r#"{"n":"x"}"#, r#"[{"n":2},{"n":null}]"#, r#"[{"n":2},3]"#, r#"[{"n":2,"m":0}]"#, "null"]
    {
        let entries = vec![good(), event(2, "a", faulty), event(3, "a", r#"{"n":3}"#)];
        let error = refused(faulty, store.record(batch(0, 3, entries)).await, ErrorKind::Invalid)?;
        same("the entry is named", error.entry(), Some(1))?;
    }
    let mut lost = event(2, "a", r#"{"n":2}"#);
    lost.dataset = dataset("none");
    let error =
        refused("no dataset", store.record(batch(0, 2, vec![good(), lost])).await, ErrorKind::NotFound)?;
    same("the entry is named", error.entry(), Some(1))?;
    same("rows", read(&store, &all(), of(&["n"])).await?, Vec::new())?;
    same("position", store.position("data").await?, 0)?;
    same("trace", store.trace(&all(), id(1_001)).await?.steps.len(), 0)?;
    store.record(batch(0, 1, vec![good()])).await?;
    same("rows of the rest", read(&store, &all(), of(&["n"])).await?, texts(&["1"]))
}

fn keyed(on_conflict: &str) -> String {
    format!(
        r#"{{"fields":[{{"name":"k","type":"text","required":true}},{{"name":"j","type":"integer","required":true}},
        {{"name":"v","type":"integer"}}],"key":["k","j"],"on_conflict":"{on_conflict}"}}"#
    )
}

async fn two_of_a_key(store: &Arc<dyn Store>, on_conflict: &str) -> Outcome<Vec<u64>> {
    store.define(&all(), &dataset("d"), &def(&keyed(on_conflict)), at(0)).await?;
    let first = r#"[{"k":"x","j":1,"v":1},{"k":"x","j":2,"v":1},{"k":"x","j":1,"v":2}]"#;
    let mut done = store.record(batch(0, 1, vec![event(1, "a", first)])).await?;
    let second = vec![event(2, "a", r#"{"k":"x","j":2,"v":3}"#), event(3, "b", r#"{"k":"x","j":2,"v":4}"#)];
    done.extend(store.record(batch(1, 2, second)).await?);
    Ok(done.iter().map(|done| done.written).collect())
}

async fn a_row_takes_the_place_of_the_one_with_its_key(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    same("written", two_of_a_key(&store, "update").await?, vec![3, 1, 1])?;
    let rows = read(&store, &all(), of(&["_client", "k", "j", "v", "_trace_id"])).await?;
    let of_event = |n: u128| id(1_000 + n).to_string();
    let expected = [
        format!("'a' 'x' 1 2 {}", of_event(1)),
        format!("'a' 'x' 2 3 {}", of_event(2)),
        format!("'b' 'x' 2 4 {}", of_event(3)),
    ];
    same("rows", rows, expected.to_vec())?;
    // Whoever reads on from the last row of the first batch sees the second.
    let later = only_if(of(&["v"]), compare("_seq", Compare::Gt(Operand::Integer(3))));
    same("rows read on by _seq", read(&store, &all(), later).await?, texts(&["3", "4"]))
}

async fn a_row_keeps_the_place_of_the_one_with_its_key(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    same("written", two_of_a_key(&store, "keep").await?, vec![2, 0, 1])?;
    let rows = read(&store, &all(), of(&["_client", "k", "j", "v"])).await?;
    same("rows", rows, texts(&["'a' 'x' 1 1", "'a' 'x' 2 1", "'b' 'x' 2 4"]))
}

async fn every_row_has_its_hidden_columns(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    let one = event(5, "a", r#"[{"n":1},{"n":2}]"#);
    let event_id = one.event_id;
    let recording = Recording { now: at(77), ..batch(0, 1, vec![one]) };
    store.record(recording).await?;
    let hidden = ["_client", "_event_id", "_trace_id", "_recorded_at"];
    let rows = read(&store, &all(), of(&hidden)).await?;
    let row = |i| format!("'a' {} {} {}", identity::row_id(event_id, i), id(1_005), at(77));
    same("rows", rows, vec![row(0), row(1)])?;
    let by = |column, operand| only_if(of(&["n"]), compare(column, Compare::Eq(operand)));
    for (what, select) in [
        ("by event", by("_event_id", Operand::Uuid(identity::row_id(event_id, 1)))),
        (
            "by trace and order",
            only_if(
                by("_trace_id", Operand::Uuid(id(1_005))),
                compare("n", Compare::Eq(Operand::Integer(2))),
            ),
        ),
    ] {
        same(what, read(&store, &all(), select).await?, texts(&["2"]))?;
    }
    let recorded = by("_recorded_at", Operand::Timestamp(at(77)));
    same("by time of record", read(&store, &all(), recorded).await?, texts(&["1", "2"]))?;
    let owner = by("_client", Operand::Text("b".to_owned()));
    same("by client", read(&store, &all(), owner).await?, Vec::new())
}

async fn seq_only_grows(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let short = r#"{"fields":[{"name":"n","type":"integer"}],"retention":"10s"}"#;
    store.define(&all(), &dataset("d"), &def(short), at(0)).await?;
    store.record(batch(0, 1, vec![event(1, "a", r#"[{"n":1},{"n":2},{"n":3}]"#)])).await?;
    // A batch that is refused may use numbers, but never gives one back.
    let faulty = batch(1, 2, vec![event(2, "a", r#"[{"n":4},{"n":"x"}]"#)]);
    refused("a faulty batch", store.record(faulty).await, ErrorKind::Invalid)?;
    same("swept", store.sweep(sweep(1_000)).await?, 3)?;
    drop(store);
    let store = factory.open().await?;
    store.record(batch(1, 2, vec![event(3, "a", r#"{"n":5}"#)])).await?;
    let later = only_if(of(&["n"]), compare("_seq", Compare::Gt(Operand::Integer(3))));
    same(
        "the number of a row that is gone is not used again",
        read(&store, &all(), later).await?,
        texts(&["5"]),
    )
}

async fn a_reader_skips_from_its_position_only(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    refused("from elsewhere", store.skip("data", 4, 5).await, ErrorKind::Conflict)?;
    store.skip("data", 0, 5).await?;
    refused("again", store.skip("data", 0, 5).await, ErrorKind::Conflict)?;
    drop(store);
    let store = factory.open().await?;
    same("position", store.position("data").await?, 5)
}

async fn readers_record_at_the_same_time(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..40_u32 {
        let store = store.clone();
        // Every fourth is refused, which must not disturb those beside it.
        let rows = if n % 4 == 3 { r#"{"n":"x"}"#.to_owned() } else { format!(r#"{{"n":{n}}}"#) };
        let events = vec![event(u128::from(n), "a", &rows)];
        let recording = Recording { reader: format!("reader-{n}"), ..batch(0, 1, events) };
        calls.spawn(async move { (n, store.record(recording).await.is_ok()) });
    }
    while let Some(call) = calls.join_next().await {
        let (n, done) = call.map_err(|error| format!("a call ended early: {error}"))?;
        same("done", (n, done), (n, n % 4 != 3))?;
    }
    drop(store);
    let store = factory.open().await?;
    let found = read(&store, &all(), super::select::ordered_by(of(&["n"]), "n")).await?;
    let expected: Vec<String> = (0..40).filter(|n| n % 4 != 3).map(|n: i32| n.to_string()).collect();
    same("rows", found, expected)?;
    same("position of a refused one", store.position("reader-3").await?, 0)
}

async fn a_store_keeps_its_name(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let name = store.id();
    holds("a store has a name", !name.is_nil())?;
    numbers(&store).await?;
    same("the name", store.id(), name)?;
    drop(store);
    same("the name after opening again", factory.open().await?.id(), name)
}

async fn generation_changes_with_every_change(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let name = dataset("d");
    let mut seen = vec![store.generation(&name)];
    let mut note = |what: &str, generation: u64| {
        let new = !seen.contains(&generation);
        seen.push(generation);
        holds(&format!("another generation after {what}"), new)
    };
    store.define(&all(), &name, &def(r#"{"fields":[{"name":"n","type":"integer"}]}"#), at(0)).await?;
    note("defining", store.generation(&name))?;
    store.define(&all(), &dataset("e"), &def(NUMBERS), at(0)).await?;
    let other = store.generation(&dataset("e"));
    store.record(batch(0, 1, vec![event(1, "a", r#"{"n":1}"#)])).await?;
    note("recording", store.generation(&name))?;
    store.record(batch(1, 2, vec![event(2, "a", r#"{"n":2}"#)])).await?;
    note("recording again", store.generation(&name))?;
    let kept = def(r#"{"fields":[{"name":"n","type":"integer"}],"retention":"1s"}"#);
    store.define(&all(), &name, &kept, at(0)).await?;
    note("changing", store.generation(&name))?;
    same("without a change", store.generation(&name), store.generation(&name))?;
    store.sweep(sweep(1_000)).await?;
    note("sweeping", store.generation(&name))?;
    drop(store);
    let store = factory.open().await?;
    store.record(batch(2, 3, vec![event(3, "a", r#"{"n":3}"#)])).await?;
    note("opening and recording", store.generation(&name))?;
    holds("there is one", store.generation(&name) != 0)?;
    same("generation of another dataset", store.generation(&dataset("e")), other)
}
