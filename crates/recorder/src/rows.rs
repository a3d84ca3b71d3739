//! The handler of the stream `data`.

use std::sync::Arc;

use async_trait::async_trait;
use metrics::{counter, histogram};
use orderwire_queue::{Clock, Position};
use orderwire_store::{Datasets, ErrorKind, Recording, RowsEvent, RowsRecorded, Source};
use orderwire_types::envelope::Incoming;
use orderwire_types::{Data, DatasetName, Event, QueueName};
use orderwire_worker::{BatchError, DirectHandler, StreamEntry, StreamHandler};

/// What the type of an event with rows begins with; the dataset follows.
const ROWS_TYPE: &str = "orderwire.rows.";

/// Records rows into their datasets: those that wait in the stream, and those that wait for
/// it at a broker.
pub struct Rows {
    datasets: Arc<dyn Datasets>,
    reader: String,
    clock: Clock,
    direct: bool,
}

impl Rows {
    /// Records what the stream `queue` carries; its name is the reader's. `direct`: events of
    /// it come from a broker, too, so that the store has to remember what was recorded.
    pub fn new(datasets: Arc<dyn Datasets>, queue: &QueueName, clock: Clock, direct: bool) -> Self {
        Self { datasets, reader: queue.to_string(), clock, direct }
    }

    /// Records a batch of events, each with whether it may come again.
    async fn record<'e>(
        &self,
        source: Source,
        batch: impl Iterator<Item = (&'e Event, bool)> + Send,
    ) -> Result<Vec<RowsRecorded>, BatchError> {
        let mut events = Vec::with_capacity(batch.size_hint().0);
        for (index, (event, remembered)) in batch.enumerate() {
            events.push(rows_of(event, remembered).map_err(|cause| BatchError::entry(index, cause))?);
        }
        let now = self.clock.now();
        let oldest = events.iter().map(|event| event.accepted_at).min().unwrap_or(now);
        let recording = Recording { reader: self.reader.clone(), source, events, now };
        let results = self.datasets.record(recording).await.map_err(|error| fault(&error))?;
        let new = results.iter().filter(|result| !result.repeated);
        let (events, rows) = new.fold((0, 0), |(events, rows), new| (events + 1, rows + new.rows));
        counter!("orderwire_recorder_rows_total").increment(rows);
        counter!("orderwire_recorder_events_total").increment(events);
        let lag = self.clock.now().duration_since(oldest).as_secs_f64();
        histogram!("orderwire_recorder_lag_seconds").record(lag.max(0.0));
        Ok(results)
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
        let source = Source::Stream { from: from.0, to: last.position.0 };
        // One that was put aside on its way from the broker comes this way after all.
        self.record(source, batch.iter().map(|entry| (&entry.event, self.direct))).await.map(drop)
    }

    async fn skip(&self, position: Position) -> Result<(), BatchError> {
        let from = self.position().await?;
        let skipped = self.datasets.skip(&self.reader, from.0, position.0).await;
        skipped.map_err(|error| BatchError::retryable(error.to_string()))
    }
}

#[async_trait]
impl DirectHandler for Rows {
    async fn handle(&self, batch: &[&Incoming]) -> Result<Vec<bool>, BatchError> {
        // Also what nothing names, which comes again when the word of its commit got lost.
        let events = batch.iter().map(|incoming| (&incoming.event, true));
        let results = self.record(Source::Broker, events).await?;
        Ok(results.iter().map(|result| !result.repeated).collect())
    }

    async fn check(&self) -> Result<(), BatchError> {
        self.position().await.map(drop)
    }
}

/// The rows of an event, or why it can never be recorded.
fn rows_of(event: &Event, remembered: bool) -> Result<RowsEvent, String> {
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
        remembered,
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
