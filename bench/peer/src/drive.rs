//! Keeps so many messages in flight, and measures.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;

use crate::Result;

const WARM_UP: Duration = Duration::from_secs(2);
/// The messages of one run stay on the broker's disk until its end.
const MESSAGES_MAX: u64 = 20_000_000;

/// How much is published.
pub(crate) struct Load {
    pub(crate) time: Duration,
    pub(crate) in_flight: usize,
    pub(crate) bytes: usize,
}

/// The times from publish to confirm, in microseconds, and how long it took.
pub(crate) struct Measured {
    latencies: Histogram<u64>,
    lasted: Duration,
}

impl Measured {
    pub(crate) fn report(&self, load: &Load) -> serde_json::Value {
        let millis = |quantile: f64| self.latencies.value_at_quantile(quantile) as f64 / 1_000.0;
        serde_json::json!({
            "in_flight": load.in_flight,
            "bytes": load.bytes,
            "messages": self.latencies.len(),
            "rate": self.latencies.len() as f64 / self.lasted.as_secs_f64(),
            "p50_ms": millis(0.5),
            "p99_ms": millis(0.99),
        })
    }
}

/// Warms up and measures. `publish` publishes one message and returns after its confirm.
pub(crate) async fn drive<F>(load: &Load, publish: impl Fn(Vec<u8>) -> F) -> Result<Measured>
where
    F: Future<Output = Result<()>>,
{
    round(load, WARM_UP, &publish).await?;
    round(load, load.time, &publish).await
}

async fn round<F>(load: &Load, time: Duration, publish: &impl Fn(Vec<u8>) -> F) -> Result<Measured>
where
    F: Future<Output = Result<()>>,
{
    let payload = vec![b'x'; load.bytes];
    let timed = |message: F| async {
        let begun = Instant::now();
        message.await.map(|()| begun.elapsed())
    };
    let mut latencies = Histogram::new_with_bounds(1, 120_000_000, 3)?;
    let begun = Instant::now();
    let mut waiting = FuturesUnordered::new();
    let mut sent = 0;
    loop {
        while waiting.len() < load.in_flight && begun.elapsed() < time && sent < MESSAGES_MAX {
            waiting.push(timed(publish(payload.clone())));
            sent += 1;
        }
        let Some(confirmed) = waiting.next().await else { break };
        latencies.saturating_record(u64::try_from(confirmed?.as_micros())?.max(1));
    }
    Ok(Measured { latencies, lasted: begun.elapsed() })
}
