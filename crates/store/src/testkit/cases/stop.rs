//! Reads that end early.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use super::super::Factory;
use super::super::kit::{Outcome, all, at, batch, dataset, def, event, holds, refused, same};
use super::super::rows::{compare, of, only_if, read};
use super::case_list;
use super::record::numbers;
use super::select::Nothing;
use crate::error::ErrorKind;
use crate::select::{Cell, Compare, RowSink};

case_list![a_read_that_takes_too_long_is_too_costly, a_read_ends_when_its_call_is_dropped];

async fn a_read_that_takes_too_long_is_too_costly(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    store.define(&all(), &dataset("d"), &def(r#"{"fields":[{"name":"t","type":"text"}]}"#), at(0)).await?;
    let row = format!(r#"{{"t":"{}"}}"#, "a".repeat(20_000));
    for n in 0..20 {
        let rows = format!("[{row},{row}]");
        store.record(batch(n, n + 1, vec![event(n.unsigned_abs().into(), "a", &rows)])).await?;
    }
    // Tries every place of every text.
    let pattern = format!("%{}b%", "a".repeat(200));
    let slow =
        || only_if(of(&["t"]), compare("t", Compare::Like { pattern: pattern.clone(), ignore_case: false }));
    for _ in 0..8 {
        let result = store.select(&all(), slow(), Box::new(Nothing), Duration::from_millis(2)).await;
        refused("a slow read", result.map(|(selected, _)| selected), ErrorKind::TooCostly)?;
    }
    // The connections of those reads are well.
    let count = read(&store, &all(), of(&[])).await?.len();
    same("rows afterwards", count, 40)
}

/// Waits in its first row until it may go on; says at its end how many rows came.
struct Held {
    rows: usize,
    started: Option<tokio::sync::oneshot::Sender<()>>,
    go_on: mpsc::Receiver<()>,
    ended: Option<tokio::sync::oneshot::Sender<usize>>,
}

impl RowSink for Held {
    fn row(&mut self, _: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        self.rows += 1;
        if let Some(started) = self.started.take() {
            // Errors mean that the case has ended.
            started.send(()).ok();
            self.go_on.recv().ok();
        }
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended.send(self.rows).ok();
        }
    }
}

async fn a_read_ends_when_its_call_is_dropped(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    let rows: Vec<String> = (0..5_000).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    store.record(batch(0, 1, vec![event(1, "a", &format!("[{}]", rows.join(",")))])).await?;
    let (started, has_started) = tokio::sync::oneshot::channel();
    let (release, go_on) = mpsc::channel();
    let (ended, has_ended) = tokio::sync::oneshot::channel();
    let sink = Held { rows: 0, started: Some(started), go_on, ended: Some(ended) };
    let reading = {
        let store = store.clone();
        tokio::spawn(async move {
            let scope = all();
            drop(store.select(&scope, of(&["n"]), Box::new(sink), Duration::from_secs(60)).await);
        })
    };
    has_started.await.map_err(|_| "the read never started".to_owned())?;
    reading.abort();
    let joined = reading.await;
    holds("the call was dropped", joined.is_err_and(|error| error.is_cancelled()))?;
    release.send(()).ok();
    let rows = has_ended.await.map_err(|_| "the sink was not dropped".to_owned())?;
    holds(&format!("the read ended before all 5000 rows ({rows})"), rows < 5_000)?;
    same("a read afterwards", read(&store, &all(), of(&["n"])).await?.len(), 5_000)
}
