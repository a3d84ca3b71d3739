//! The handler of the stream `data`.

use std::sync::Arc;

use async_trait::async_trait;
use metrics::{counter, histogram};
use orderwire_queue::{Clock, Position};
use orderwire_store::{Datasets, ErrorKind, Recording, RowsEvent};
use orderwire_types::{Data, DatasetName, Event, QueueName};
use orderwire_worker::{BatchError, StreamEntry, StreamHandler};

/// What the type of an event with rows begins with; the dataset follows.
const ROWS_TYPE: &str = "orderwire.rows.";

/// Records rows into their datasets.
pub struct Rows {
    datasets: Arc<dyn Datasets>,
    reader: String,
    clock: Clock,
}

impl Rows {
    /// Records what the stream `queue` carries; its name is the reader's.
    pub fn new(datasets: Arc<dyn Datasets>, queue: &QueueName, clock: Clock) -> Self {
        Self { datasets, reader: queue.to_string(), clock }
    }
}

#[async_trait]
impl StreamHandler for Rows {
    async fn position(&self) -> Result<Position, BatchError> {
        let position = self.datasets.position(&self.reader).await;
        position.map(Position).map_err(|error| BatchError::retryable(error.to_string()))
    }

    async fn handle(&self, batch: &[StreamEntry], from: Position) -> Result<(), BatchError> {
        let Some(last) = batch.last() else { return Ok(()) };
        let mut events = Vec::with_capacity(batch.len());
        for (index, entry) in batch.iter().enumerate() {
            events.push(rows_of(&entry.event).map_err(|cause| BatchError::entry(index, cause))?);
        }
        let now = self.clock.now();
        let oldest = events.iter().map(|event| event.accepted_at).min().unwrap_or(now);
        let recording =
            Recording { reader: self.reader.clone(), from: from.0, to: last.position.0, events, now };
        let results = self.datasets.record(recording).await.map_err(|error| fault(&error))?;
        let rows: u64 = results.iter().map(|result| result.rows).sum();
        counter!("orderwire_recorder_rows_total").increment(rows);
        counter!("orderwire_recorder_events_total").increment(batch.len() as u64);
        let lag = self.clock.now().duration_since(oldest).as_secs_f64();
        histogram!("orderwire_recorder_lag_seconds").record(lag.max(0.0));
        Ok(())
    }

    async fn skip(&self, position: Position) -> Result<(), BatchError> {
        let from = self.position().await?;
        let skipped = self.datasets.skip(&self.reader, from.0, position.0).await;
        skipped.map_err(|error| BatchError::retryable(error.to_string()))
    }
}

/// The rows of an event, or why it can never be recorded.
fn rows_of(event: &Event) -> Result<RowsEvent, String> {
    let name = event.event_type.as_str().strip_prefix(ROWS_TYPE);
    let name = name.ok_or_else(|| format!("event type {} names no dataset", event.event_type))?;
    let dataset: DatasetName = name.parse().map_err(|invalid| format!("{invalid}"))?;
    let Data::Json(rows) = &event.data else { return Err("the event carries no JSON rows".to_owned()) };
    Ok(RowsEvent {
        dataset,
        client: event.client.clone(),
        event_id: event.id,
        trace: event.trace.id,
        rows: rows.clone(),
        accepted_at: event.accepted_at,
        import: event.import.clone(),
    })
}

/// Whose fault a refused recording is: an entry's, when the store names one;
/// otherwise the batch may go through later. A position that moved (`Conflict`)
/// is read again by the runtime.
fn fault(error: &orderwire_store::Error) -> BatchError {
    match (error.kind(), error.entry()) {
        (ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Conflict, Some(entry)) => {
            BatchError::entry(entry, error.to_string())
        }
        (ErrorKind::Invalid | ErrorKind::NotFound, None) => BatchError::batch(error.to_string()),
        _ => BatchError::retryable(error.to_string()),
    }
}
