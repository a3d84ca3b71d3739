//! Traces.

use std::sync::Arc;

use super::super::Factory;
use super::super::kit::{Outcome, all, at, batch, client, event, id, only, record, same, step};
use super::case_list;
use super::record::numbers;
use crate::model::{Recording, TraceView};
use crate::steps::recorded_steps;

case_list![
    steps_come_back_in_order_of_time,
    a_recording_leaves_one_record_per_trace,
    traces_of_other_clients_are_not_there,
];

async fn steps_come_back_in_order_of_time(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let day = 86_400;
    // Stored late first, over windows of time, two of one moment in order.
    store.add_steps(&[record(1, "a", vec![step(day, "c"), step(day, "d")])]).await?;
    store.add_steps(&[record(1, "a", vec![step(0, "a")]), record(2, "b", vec![step(0, "z")])]).await?;
    store.add_steps(&[record(1, "a", vec![step(1, "b"), step(9 * day, "e")])]).await?;
    drop(store);
    let store = factory.open().await?;
    let view = store.trace(&all(), id(1)).await?;
    let words: Vec<&str> = view.steps.iter().map(|step| step.step.as_str()).collect();
    same("steps", words.join(" "), "a b c d e".to_owned())?;
    same("a whole step", view.steps.first(), Some(&step(0, "a")))?;
    same("client", view.client, Some(client("a")))?;
    same("none", store.trace(&all(), id(9)).await?, TraceView::default())
}

async fn a_recording_leaves_one_record_per_trace(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    let mut second = event(2, "a", r#"[{"n":2},{"n":3}]"#);
    second.trace = id(1_001);
    let recording = Recording {
        now: at(3),
        ..batch(0, 1, vec![event(1, "a", r#"{"n":1}"#), second, event(3, "b", r#"{"n":4}"#)])
    };
    let results = store.record(recording.clone()).await?;
    drop(store);
    let store = factory.open().await?;
    for expected in recorded_steps(&recording, &results) {
        let view = store.trace(&all(), expected.trace).await?;
        same("client", view.client, Some(expected.client))?;
        same("steps", view.steps, expected.steps)?;
    }
    Ok(())
}

async fn traces_of_other_clients_are_not_there(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    store.add_steps(&[record(1, "a", vec![step(0, "a")]), record(1, "b", vec![step(1, "b")])]).await?;
    store.add_steps(&[record(2, "b", vec![step(1, "b")])]).await?;
    let own = store.trace(&only(&["a"]), id(1)).await?;
    same("own steps", (own.client, own.steps), (Some(client("a")), vec![step(0, "a")]))?;
    same("a trace of others", store.trace(&only(&["a"]), id(2)).await?, TraceView::default())?;
    same("both", store.trace(&only(&["a", "b"]), id(1)).await?.steps.len(), 2)
}
