//! What comes from a broker, which knows no position of ours: recorded once all the same.

use std::sync::Arc;

use orderwire_types::EventId;

use super::super::Factory;
use super::super::kit::{Outcome, all, arrived, at, batch, dataset, event, id, refused, same, sweep};
use super::super::rows::{of, read};
use super::case_list;
use super::record::{new, numbers, texts};
use crate::error::ErrorKind;
use crate::model::{Recording, RowsEvent, RowsRecorded, Sweep};
use crate::traits::Store;

case_list![
    an_event_of_a_broker_is_recorded_once,
    what_is_not_remembered_is_recorded_each_time,
    what_is_remembered_outlives_the_process,
    a_refused_batch_is_not_remembered,
    what_is_remembered_is_passed_over_when_its_dataset_is_gone,
    an_event_is_remembered_whichever_way_it_came,
    many_events_are_remembered,
    an_event_is_forgotten_when_its_time_is_over,
];

/// An event with one row that the store remembers.
fn once(n: u32) -> RowsEvent {
    RowsEvent { remembered: true, ..event(n.into(), "a", &format!(r#"{{"n":{n}}}"#)) }
}

fn repeated() -> RowsRecorded {
    RowsRecorded { repeated: true, ..RowsRecorded::default() }
}

async fn numbers_of(store: &Arc<dyn Store>) -> Outcome<Vec<String>> {
    read(store, &all(), of(&["n"])).await
}

async fn an_event_of_a_broker_is_recorded_once(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    same("both are new", store.record(arrived(vec![once(1), once(2)])).await?, vec![new(1), new(1)])?;
    // Handed over again after an ack that was lost, with what came meanwhile, which a producer
    // sent twice.
    let again = store.record(arrived(vec![once(2), once(3), once(3), once(1)])).await?;
    same("the new one alone", again, vec![repeated(), new(1), repeated(), repeated()])?;
    same("rows", numbers_of(&store).await?, texts(&["1", "2", "3"]))?;
    same("no position", store.position("data").await?, 0)?;
    for trace in [1_001, 1_002, 1_003] {
        same("steps, once", store.trace(&all(), id(trace)).await?.steps.len(), 3)?;
    }
    let generation = store.generation(&dataset("d"));
    store.record(arrived(vec![once(1)])).await?;
    same("nothing changed", store.generation(&dataset("d")), generation)
}

async fn what_is_not_remembered_is_recorded_each_time(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    for _ in 0..2 {
        same("new", store.record(arrived(vec![event(1, "a", r#"{"n":1}"#)])).await?, vec![new(1)])?;
    }
    same("rows", numbers_of(&store).await?, texts(&["1", "1"]))
}

async fn what_is_remembered_outlives_the_process(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    store.record(arrived(vec![once(1)])).await?;
    drop(store);
    let store = factory.open().await?;
    same("again", store.record(arrived(vec![once(1), once(2)])).await?, vec![repeated(), new(1)])?;
    same("rows", numbers_of(&store).await?, texts(&["1", "2"]))
}

async fn what_is_remembered_is_passed_over_when_its_dataset_is_gone(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    store.record(arrived(vec![once(1), once(2)])).await?;
    store.remove(&all(), &dataset("d")).await?;
    same("both again", store.record(arrived(vec![once(1), once(2)])).await?, vec![repeated(), repeated()])?;
    // One that was never recorded has nowhere to go, and holds up what comes with it.
    let refusal = store.record(arrived(vec![once(1), once(3), once(2)])).await;
    let refusal = refused("a new event", refusal, ErrorKind::NotFound)?;
    same("whose fault it is", refusal.entry(), Some(1))?;
    // By the stream as well, whose position moves past it.
    same("by the stream", store.record(batch(0, 5, vec![once(2)])).await?, vec![repeated()])?;
    same("position", store.position("data").await?, 5)?;
    // Made anew it is another dataset, and what is remembered stays recorded.
    numbers(&store).await?;
    same("made anew", store.record(arrived(vec![once(1), once(3)])).await?, vec![repeated(), new(1)])?;
    same("rows", numbers_of(&store).await?, texts(&["3"]))
}

async fn a_refused_batch_is_not_remembered(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    let faulty = RowsEvent { remembered: true, ..event(2, "a", r#"{"n":"x"}"#) };
    let batch = arrived(vec![once(1), faulty.clone(), once(3)]);
    let error = refused("a faulty one", store.record(batch).await, ErrorKind::Invalid)?;
    same("is named", error.entry(), Some(1))?;
    same("rows", numbers_of(&store).await?, Vec::new())?;
    // In parts, as whoever looks for the faulty one does.
    same("before it", store.record(arrived(vec![once(1)])).await?, vec![new(1)])?;
    refused("by itself", store.record(arrived(vec![faulty])).await, ErrorKind::Invalid)?;
    same("behind it", store.record(arrived(vec![once(3)])).await?, vec![new(1)])?;
    // It was edited, and comes from where it was put aside.
    same("mended", store.record(arrived(vec![once(2)])).await?, vec![new(1)])?;
    same("rows", numbers_of(&store).await?, texts(&["1", "3", "2"]))
}

async fn an_event_is_remembered_whichever_way_it_came(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    store.record(arrived(vec![once(1)])).await?;
    let through_the_stream = store.record(batch(0, 5, vec![once(1), once(2)])).await?;
    same("in the stream", through_the_stream, vec![repeated(), new(1)])?;
    same("position", store.position("data").await?, 5)?;
    same("from the broker", store.record(arrived(vec![once(2)])).await?, vec![repeated()])?;
    let ahead = store.record(batch(7, 8, vec![once(4)])).await;
    refused("ahead of the position", ahead, ErrorKind::Conflict)?;
    same("which remembers nothing", store.record(arrived(vec![once(4)])).await?, vec![new(1)])?;
    same("rows", numbers_of(&store).await?, texts(&["1", "2", "4"]))
}

/// More than an engine keeps in one place.
async fn many_events_are_remembered(factory: Arc<dyn Factory>) -> Outcome {
    const MANY: u32 = 600;
    let store = factory.open().await?;
    numbers(&store).await?;
    let scattered = |n: u32| RowsEvent {
        event_id: EventId(id(u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))),
        ..once(n)
    };
    let all_of = |range: std::ops::Range<u32>| arrived(range.map(scattered).collect());
    for first in (0..MANY).step_by(20) {
        same("new", store.record(all_of(first..first + 20)).await?, vec![new(1); 20])?;
    }
    drop(store);
    let store = factory.open().await?;
    let again = store.record(all_of(0..MANY)).await?;
    same("new ones", again.iter().filter(|done| !done.repeated).count(), 0)?;
    same("rows", numbers_of(&store).await?.len(), MANY as usize)
}

async fn an_event_is_forgotten_when_its_time_is_over(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    let day = 86_400;
    let of = |second, n| Recording { now: at(second), ..arrived(vec![once(n)]) };
    store.record(of(0, 1)).await?;
    store.record(of(day, 2)).await?;
    let over = Sweep { remembered_before: at(day), limit: 1, ..sweep(2 * day) };
    store.sweep(over).await?;
    same("the old one is new", store.record(of(2 * day, 1)).await?, vec![new(1)])?;
    same("the other is not", store.record(of(2 * day, 2)).await?, vec![repeated()])?;
    while store.sweep(over).await? > 0 {}
    drop(store);
    let store = factory.open().await?;
    same("nor is either now", store.record(of(2 * day, 1)).await?, vec![repeated()])?;
    same("nor is either now", store.record(of(2 * day, 2)).await?, vec![repeated()])?;
    same("rows", numbers_of(&store).await?, texts(&["1", "2", "1"]))
}
