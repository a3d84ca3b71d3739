//! The trace of a recording: written once here, stored by every engine.

use std::collections::HashMap;

use jiff::Timestamp;
use orderwire_types::QueueName;
use orderwire_types::step::{Millis, Step, TraceRecord};
use uuid::Uuid;

use crate::model::{Recording, RowsRecorded};

/// One record per trace of the batch, in order of first appearance: when its
/// first event was accepted, and what of it was recorded. A repeated event leaves no
/// trace a second time. Telemetry pays for its trace here and nowhere else.
pub fn recorded_steps(recording: &Recording, results: &[RowsRecorded]) -> Vec<TraceRecord> {
    struct Sum {
        record: usize,
        accepted_at: Timestamp,
        events: u64,
        rows: u64,
        written: u64,
    }
    let mut order: Vec<(Uuid, Sum)> = Vec::new();
    let mut known: HashMap<Uuid, usize> = HashMap::new();
    let new = |(_, (_, result)): &(usize, (_, &RowsRecorded))| !result.repeated;
    for (i, (event, result)) in recording.events.iter().zip(results).enumerate().filter(new) {
        let at = *known.entry(event.trace).or_insert_with(|| {
            let sum = Sum { record: i, accepted_at: event.accepted_at, events: 0, rows: 0, written: 0 };
            order.push((event.trace, sum));
            order.len() - 1
        });
        let sum = &mut order[at].1;
        sum.accepted_at = sum.accepted_at.min(event.accepted_at);
        sum.events += 1;
        sum.rows += result.rows;
        sum.written += result.written;
    }
    let queue: Option<QueueName> = recording.reader.parse().ok();
    order
        .into_iter()
        .map(|(trace, sum)| {
            let first = &recording.events[sum.record];
            let step = |at, role: &str, step: &str| Step {
                event_id: (sum.events == 1).then_some(first.event_id.0),
                ..Step::ok(at, role, step)
            };
            let detail = format!(
                "{} of {} rows written to {} from {} event(s)",
                sum.written, sum.rows, first.dataset, sum.events
            );
            let steps = vec![
                step(sum.accepted_at, "gateway", "accepted"),
                Step { queue: queue.clone(), ..step(sum.accepted_at, "queue", "queued") },
                Step {
                    queue: queue.clone(),
                    duration_ms: Some(Millis::between(sum.accepted_at, recording.now)),
                    detail: Some(detail),
                    ..step(recording.now, "recorder", "recorded")
                },
            ];
            TraceRecord { trace, client: first.client.clone(), steps }
        })
        .collect()
}
