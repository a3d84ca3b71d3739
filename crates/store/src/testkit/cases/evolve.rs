//! Definitions that change while there are rows, and while rows arrive.

use std::sync::Arc;

use super::super::Factory;
use super::super::kit::{Outcome, all, at, batch, dataset, def, event, refused, same};
use super::super::rows::{compare, of, only_if, read};
use super::case_list;
use super::select::ordered_by;
use crate::error::ErrorKind;
use crate::evolve::Loss;
use crate::model::Defined;
use crate::select::{Compare, Operand};
use crate::traits::Store;

case_list![
    a_column_gets_a_wider_type,
    a_loss_needs_leave,
    an_added_column_has_its_default_in_the_rows_that_are_there,
    rows_that_were_accepted_before_a_change_are_recorded_after_it,
    what_was_accepted_before_a_type_changed_is_what_the_rows_became,
    rows_arrive_while_a_definition_changes,
];

/// One dataset with these fields and no key.
fn fields(fields: &str) -> orderwire_types::dataset::DatasetDef {
    def(&format!(r#"{{"fields":[{fields}]}}"#))
}

async fn evolve(store: &Arc<dyn Store>, next: &str, loss: Loss, second: i64) -> Outcome {
    let done = store.evolve(&all(), &dataset("d"), &fields(next), loss, at(second)).await?;
    same(next, done, Defined::Changed)
}

const NARROW: &str = r#"{"name":"a","type":"integer"},{"name":"b","type":"integer"},{"name":"c","type":"date"},
    {"name":"u","type":"uuid"},{"name":"t","type":"timestamp"}"#;

const ROWS: &str = r#"[
    {"a":9007199254740992,"b":9223372036854775807,"c":"2024-02-29","u":"9A2AE9DE-3f82-4f55-966b-47df50ff51ff","t":"1969-12-31T23:59:59.5Z"},
    {"a":-9007199254740992,"b":-5,"c":"0000-01-01","t":"2024-02-29T12:00:00Z"},{"c":"9999-12-30"},{}]"#;

async fn narrow(store: &Arc<dyn Store>) -> Outcome {
    store.define(&all(), &dataset("d"), &fields(NARROW), at(0)).await?;
    store.record(batch(0, 1, vec![event(1, "a", ROWS)])).await?;
    Ok(())
}

async fn a_column_gets_a_wider_type(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    narrow(&store).await?;
    let generation = store.generation(&dataset("d"));
    let wide = r#"{"name":"a","type":"float"},{"name":"b","type":"decimal"},{"name":"c","type":"timestamp"},
        {"name":"u","type":"text"},{"name":"t","type":"timestamp"}"#;
    evolve(&store, wide, Loss::Refused, 10).await?;
    same("generation", store.generation(&dataset("d")) > generation, true)?;
    store
        .record(batch(1, 2, vec![event(2, "a", r#"{"a":0.5,"b":0.50,"c":"2025-01-01T00:00:00Z","u":"x"}"#)]))
        .await?;
    drop(store);
    let store = factory.open().await?;
    let expected = [
        "9007199254740992.0 9223372036854775807m 2024-02-29T00:00:00Z '9a2ae9de-3f82-4f55-966b-47df50ff51ff' 1969-12-31T23:59:59.5Z",
        "-9007199254740992.0 -5m 0000-01-01T00:00:00Z null 2024-02-29T12:00:00Z",
        "null null 9999-12-30T00:00:00Z null null",
        "null null null null null",
        "0.5 0.50m 2025-01-01T00:00:00Z 'x' null",
    ];
    let expected: Vec<String> = expected.iter().map(|&row| row.to_owned()).collect();
    same("rows", read(&store, &all(), of(&["a", "b", "c", "u", "t"])).await?, expected)?;
    let greater = Compare::Gt(Operand::Decimal("-5.1".parse().expect("it is a number")));
    let found = read(&store, &all(), only_if(of(&["b"]), compare("b", greater))).await?;
    same("compared", found.len(), 3)?;
    // A column of the key and one of the time, with their indexes.
    let name = dataset("keyed");
    let keyed = |key: &str, when: &str, time: &str| {
        def(&format!(
            r#"{{"fields":[{{"name":"k","type":"{key}","required":true}},{{"name":"w","type":"{when}"}}],"key":["k"]{time}}}"#
        ))
    };
    store.define(&all(), &name, &keyed("integer", "date", ""), at(1)).await?;
    let row = |n: u128, rows: &str| {
        let mut event = event(n, "a", rows);
        event.dataset = name.clone();
        event
    };
    store.record(batch(2, 3, vec![row(3, r#"[{"k":1,"w":"2024-01-01"},{"k":2}]"#)])).await?;
    let next = keyed("decimal", "timestamp", r#","time":"w""#);
    store.define(&all(), &name, &next, at(20)).await?;
    store.record(batch(3, 4, vec![row(4, r#"[{"k":1.0,"w":"2024-01-02T00:00:00Z"},{"k":1.5}]"#)])).await?;
    let select = crate::select::Select { dataset: name, ..of(&["k", "w"]) };
    let found = read(&store, &all(), ordered_by(select, "k")).await?.join(", ");
    same("keyed", found, "1.0m 2024-01-02T00:00:00Z, 1.5m null, 2m null".to_owned())
}

async fn a_loss_needs_leave(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    narrow(&store).await?;
    let rest = r#"{"name":"c","type":"date"},{"name":"u","type":"uuid"}"#;
    let all_of = |a: &str, b: &str, t: &str| {
        format!(
            r#"{{"name":"a","type":"{a}"}},{{"name":"b","type":"{b}"}},{rest},{{"name":"t","type":"{t}"}}"#
        )
    };
    let refusing = async |what: &str, next: &str, loss| {
        let result = store.evolve(&all(), &dataset("d"), &fields(next), loss, at(2)).await;
        refused(what, result, ErrorKind::Conflict).map(drop)
    };
    let dropped = format!(r#"{{"name":"b","type":"float"}},{rest},{{"name":"t","type":"date"}}"#);
    refusing("a column dropped", &dropped, Loss::Refused).await?;
    refusing("an integer beyond floats", &all_of("integer", "float", "timestamp"), Loss::Refused).await?;
    refusing("a time cut", &all_of("integer", "integer", "date"), Loss::Refused).await?;
    for (a, b) in [("text", "integer"), ("boolean", "integer"), ("integer", "json")] {
        refusing("no way", &all_of(a, b, "timestamp"), Loss::Refused).await?;
        refusing("no way with leave", &all_of(a, b, "timestamp"), Loss::Allowed).await?;
    }
    let found = store.dataset(&all(), &dataset("d")).ok_or("the dataset is gone".to_owned())?;
    same("definition", found.def.clone(), fields(NARROW))?;
    evolve(&store, &dropped, Loss::Allowed, 3).await?;
    drop(store);
    let store = factory.open().await?;
    let expected = ["9.223372036854776e18 1969-12-31", "-5.0 2024-02-29", "null null", "null null"];
    let expected: Vec<String> = expected.iter().map(|&row| row.to_owned()).collect();
    same("rows", read(&store, &all(), of(&["b", "t"])).await?, expected)?;
    let sink = Box::new(super::select::Nothing);
    let gone = store.select(&all(), of(&["a"]), sink, super::super::rows::PATIENCE).await;
    refused("the column is gone", gone.map(|(selected, _)| selected), ErrorKind::Invalid)?;
    // Under the same name, also by case, there may be another one by then.
    evolve(&store, &format!(r#"{dropped},{{"name":"A","type":"text"}}"#), Loss::Refused, 4).await?;
    let row = r#"{"A":"x","b":1}"#;
    store.record(batch(1, 2, vec![event(2, "a", row)])).await?;
    let found = read(&store, &all(), of(&["A", "b"])).await?;
    same("made anew", found.last().cloned(), Some("'x' 1.0".to_owned()))
}

async fn an_added_column_has_its_default_in_the_rows_that_are_there(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    narrow(&store).await?;
    let added = r#",{"name":"x","type":"text","required":true,"default":"it's \\ \"x\""},{"name":"f","type":"float","default":1e300},
        {"name":"d","type":"decimal","default":0.25},{"name":"o","type":"boolean","default":true},
        {"name":"at","type":"timestamp","default":"2024-01-01T00:00:00Z"},{"name":"day","type":"date","default":"2024-01-01"},
        {"name":"id","type":"uuid","default":"9a2ae9de-3f82-4f55-966b-47df50ff51ff"},
        {"name":"tags","type":"text[]","default":["a","b,c"]},{"name":"j","type":"json","default":{"a":[1,null]}},{"name":"n","type":"integer"}"#;
    evolve(&store, &format!("{NARROW}{added}"), Loss::Refused, 3).await?;
    store.record(batch(1, 2, vec![event(2, "a", r#"{"n":1}"#)])).await?;
    let columns = ["x", "f", "d", "o", "at", "day", "id", "tags", "j", "n"];
    let full = "'it's \\ \"x\"' 1e300 0.25m true 2024-01-01T00:00:00Z 2024-01-01 \
                9a2ae9de-3f82-4f55-966b-47df50ff51ff texts:[\"a\",\"b,c\"] json:{\"a\":[1,null]}";
    let mut expected = vec![format!("{full} null"); 4];
    expected.push(format!("{full} 1"));
    same("rows", read(&store, &all(), of(&columns)).await?, expected.clone())?;
    // Another default is one for what comes.
    let later = added.replace("\"default\":0.25", "\"default\":0.75");
    evolve(&store, &format!("{NARROW}{later}"), Loss::Refused, 4).await?;
    store.record(batch(2, 3, vec![event(3, "a", r#"{"n":2}"#)])).await?;
    expected.push(format!("{} 2", full.replace("0.25m", "0.75m")));
    same("rows", read(&store, &all(), of(&columns)).await?, expected)
}

async fn rows_that_were_accepted_before_a_change_are_recorded_after_it(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    store.define(&all(), &dataset("d"), &fields(NARROW), at(0)).await?;
    let next = r#"{"name":"b","type":"decimal"},{"name":"c","type":"timestamp"},{"name":"x","type":"text","default":"new"}"#;
    evolve(&store, next, Loss::Allowed, 60).await?;
    drop(store);
    let store = factory.open().await?;
    let row = r#"{"a":1,"b":2,"c":"2024-02-29"}"#;
    let accepted = |n: u128, second: i64| {
        let mut event = event(n, "a", row);
        event.accepted_at = at(second);
        event
    };
    store.record(batch(0, 1, vec![accepted(1, 1), accepted(2, 61)])).await?;
    // Long after the change such a row is a fault.
    let late = store.record(batch(1, 2, vec![accepted(3, 120)])).await;
    same("the entry is named", refused("a late row", late, ErrorKind::Invalid)?.entry(), Some(0))?;
    let found = read(&store, &all(), of(&["b", "c", "x"])).await?;
    same("rows", found, vec!["2m 2024-02-29T00:00:00Z 'new'".to_owned(); 2])
}

async fn what_was_accepted_before_a_type_changed_is_what_the_rows_became(
    factory: Arc<dyn Factory>,
) -> Outcome {
    let store = factory.open().await?;
    let types = |t: &str, c: &str| format!(r#"{{"name":"t","type":"{t}"}},{{"name":"c","type":"{c}"}}"#);
    store.define(&all(), &dataset("d"), &fields(&types("timestamp", "date")), at(0)).await?;
    let rows = r#"[{"t":"2026-01-01T00:00:00Z","c":"9999-12-31"},{"t":"2024-02-29T23:30:00-01:00"},
        {"t":"1969-12-31T23:59:59.5Z"},{"t":"0000-01-01T00:00:00Z","c":"0000-01-01"},{}]"#;
    store.record(batch(0, 1, vec![event(1, "a", rows)])).await?;
    evolve(&store, &types("date", "timestamp"), Loss::Allowed, 60).await?;
    store.record(batch(1, 2, vec![event(2, "a", rows)])).await?;
    let mut late = event(3, "a", rows);
    late.accepted_at = at(120);
    let late = store.record(batch(2, 3, vec![late])).await;
    same("the entry is named", refused("a late row", late, ErrorKind::Invalid)?.entry(), Some(0))?;
    let became = [
        "2026-01-01 9999-12-30T22:00:00Z",
        "2024-03-01 null",
        "1969-12-31 null",
        "0000-01-01 0000-01-01T00:00:00Z",
        "null null",
    ];
    let expected = [became, became].concat().into_iter().map(str::to_owned).collect();
    same("rows", read(&store, &all(), of(&["t", "c"])).await?, expected)
}

/// Columns come, widen and go while a stream of batches is recorded: each row is there once.
async fn rows_arrive_while_a_definition_changes(factory: Arc<dyn Factory>) -> Outcome {
    const BATCHES: i64 = 60;
    let store = factory.open().await?;
    let first = r#"{"name":"n","type":"integer"},{"name":"v","type":"integer"},{"name":"old","type":"text"}"#;
    store.define(&all(), &dataset("d"), &fields(first), at(0)).await?;
    let recording = async {
        for n in 0..BATCHES {
            let rows = format!(r#"[{{"n":{n},"v":{n},"old":"x"}},{{"n":{n}}}]"#);
            let mut event = event(1 + u128::from(n.unsigned_abs()), "a", &rows);
            event.accepted_at = at(0);
            store.record(batch(n, n + 1, vec![event])).await?;
            tokio::task::yield_now().await;
        }
        Outcome::Ok(())
    };
    let changing = async {
        let added = format!(r#"{first},{{"name":"more","type":"text","default":"m"}}"#);
        evolve(&store, &added, Loss::Refused, 1).await?;
        evolve(
            &store,
            &added.replacen("\"v\",\"type\":\"integer\"", "\"v\",\"type\":\"decimal\"", 1),
            Loss::Refused,
            2,
        )
        .await?;
        let dropped = r#"{"name":"n","type":"integer"},{"name":"v","type":"decimal"},{"name":"more","type":"text","default":"m"}"#;
        evolve(&store, dropped, Loss::Allowed, 3).await
    };
    let (recorded, changed) = tokio::join!(recording, changing);
    recorded?;
    changed?;
    let found = read(&store, &all(), of(&["n", "v", "more"])).await?;
    let expected = (0..BATCHES).flat_map(|n| [format!("{n} {n}m 'm'"), format!("{n} null 'm'")]);
    same("rows", found, expected.collect())
}
