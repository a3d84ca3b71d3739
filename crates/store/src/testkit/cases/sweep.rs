//! Retention.

use std::sync::Arc;

use super::super::Factory;
use super::super::kit::{Outcome, all, at, batch, dataset, def, event, id, record, same, step, sweep};
use super::super::rows::{of, read};
use super::case_list;
use crate::model::{Recording, Sweep};
use crate::select::Select;

case_list![
    rows_past_their_retention_go_a_piece_at_a_time,
    rows_without_a_time_go_by_their_record,
    traces_go_when_they_are_old,
];

async fn rows_past_their_retention_go_a_piece_at_a_time(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let fields = r#""fields":[{"name":"n","type":"integer"},{"name":"t","type":"timestamp"}],"time":"t""#;
    store.define(&all(), &dataset("d"), &def(&format!(r#"{{{fields},"retention":"1h"}}"#)), at(0)).await?;
    store.define(&all(), &dataset("e"), &def(&format!("{{{fields}}}")), at(0)).await?;
    let rows = |seconds: &[i64]| {
        let row = |second: &i64| format!(r#"{{"n":{second},"t":"{}"}}"#, at(*second));
        format!("[{}]", seconds.iter().map(row).collect::<Vec<_>>().join(","))
    };
    let mut kept = event(3, "a", &rows(&[0]));
    kept.dataset = dataset("e");
    let events = vec![event(1, "a", &rows(&[0, 7_200, 1, 2])), event(2, "b", &rows(&[3, 7_200])), kept];
    store.record(Recording { now: at(7_200), ..batch(0, 1, events) }).await?;
    let mut pieces = Vec::new();
    for _ in 0..4 {
        pieces.push(store.sweep(Sweep { limit: 3, ..sweep(7_200) }).await?);
    }
    same("pieces", pieces, vec![3, 1, 0, 0])?;
    drop(store);
    let store = factory.open().await?;
    same("rows", read(&store, &all(), of(&["n"])).await?.join(" "), "7200 7200".to_owned())?;
    let other = Select { dataset: dataset("e"), ..of(&["n"]) };
    same("a dataset without retention", read(&store, &all(), other).await?.len(), 1)
}

async fn rows_without_a_time_go_by_their_record(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let fields = r#""fields":[{"name":"n","type":"integer"},{"name":"t","type":"timestamp"}]"#;
    store
        .define(&all(), &dataset("d"), &def(&format!(r#"{{{fields},"time":"t","retention":"1h"}}"#)), at(0))
        .await?;
    store.define(&all(), &dataset("e"), &def(&format!(r#"{{{fields},"retention":"1h"}}"#)), at(0)).await?;
    let both = |n: u128, position, second| {
        let mut other = event(n + 10, "a", &format!(r#"{{"n":{n}}}"#));
        other.dataset = dataset("e");
        let events = vec![event(n, "a", &format!(r#"{{"n":{n}}}"#)), other];
        Recording { now: at(second), ..batch(position, position + 1, events) }
    };
    store.record(both(1, 0, 0)).await?;
    store.record(both(2, 1, 7_200)).await?;
    same("swept", store.sweep(sweep(7_200)).await?, 2)?;
    same("rows of d", read(&store, &all(), of(&["n"])).await?.join(" "), "2".to_owned())?;
    let other = Select { dataset: dataset("e"), ..of(&["n"]) };
    same("rows of e", read(&store, &all(), other).await?.join(" "), "2".to_owned())
}

async fn traces_go_when_they_are_old(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let day = 86_400;
    store.add_steps(&[1, 2, 3].map(|n| record(n, "a", vec![step(0, "x")]))).await?;
    store.add_steps(&[record(4, "a", vec![step(9 * day, "x")])]).await?;
    let piece = Sweep { traces_before: at(5 * day), limit: 2, ..sweep(10 * day) };
    same("a piece", store.sweep(piece).await?, 2)?;
    same("the rest", store.sweep(piece).await?, 1)?;
    same("nothing more", store.sweep(piece).await?, 0)?;
    drop(store);
    let store = factory.open().await?;
    for (trace, steps) in [(1, 0), (2, 0), (3, 0), (4, 1)] {
        same("steps", store.trace(&all(), id(trace)).await?.steps.len(), steps)?;
    }
    Ok(())
}
