//! Reads that end early.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

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

/// How long a sink waits for its call to be dropped. An engine that calls it on the task of the
/// call drops that only when the sink has returned.
const LET_GO: Duration = Duration::from_millis(200);

/// Ends the task of its own call in its first row; says at its end how many rows came.
struct Ends {
    rows: usize,
    call: mpsc::Receiver<AbortHandle>,
    dropped: mpsc::Receiver<()>,
    ended: Option<oneshot::Sender<usize>>,
}

impl RowSink for Ends {
    fn row(&mut self, _: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        self.rows += 1;
        if self.rows == 1
            && let Ok(call) = self.call.recv_timeout(Duration::from_secs(10))
        {
            call.abort();
            // Its end is the sender's, which nothing is ever sent by.
            self.dropped.recv_timeout(LET_GO).ok();
        }
        true
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            // An error means that the case has ended.
            ended.send(self.rows).ok();
        }
    }
}

async fn a_read_ends_when_its_call_is_dropped(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    numbers(&store).await?;
    let rows: Vec<String> = (0..5_000).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    store.record(batch(0, 1, vec![event(1, "a", &format!("[{}]", rows.join(",")))])).await?;
    let (tell, call) = mpsc::channel();
    let (alive, dropped) = mpsc::channel::<()>();
    let (ended, has_ended) = oneshot::channel();
    let sink = Ends { rows: 0, call, dropped, ended: Some(ended) };
    let reading = {
        let store = store.clone();
        tokio::spawn(async move {
            let _alive = alive;
            let scope = all();
            drop(store.select(&scope, of(&["n"]), Box::new(sink), Duration::from_secs(60)).await);
        })
    };
    tell.send(reading.abort_handle()).map_err(|_| "the read has no sink".to_owned())?;
    let joined = reading.await;
    holds("the call was dropped", joined.is_err_and(|error| error.is_cancelled()))?;
    let rows = has_ended.await.map_err(|_| "the sink was not dropped".to_owned())?;
    holds(&format!("the read ended before all 5000 rows ({rows})"), (1..5_000).contains(&rows))?;
    same("a read afterwards", read(&store, &all(), of(&["n"])).await?.len(), 5_000)
}
