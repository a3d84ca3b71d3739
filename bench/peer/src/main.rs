//! Publishes to a durable quorum queue of RabbitMQ with publisher confirms,
//! as fast as it confirms with so many messages in flight, and prints one line
//! of JSON:
//!
//! ```text
//! orderwire-bench-peer URL SECONDS IN_FLIGHT [BYTES]
//! {"in_flight":64,"bytes":512,"messages":…,"rate":…,"p50_ms":…,"p99_ms":…}
//! ```
//!
//! One connection and one channel: more of them were not faster, because the
//! queue is one process in the broker.

use std::error::Error;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

const QUEUE: &str = "orderwire-bench";
const WARM_UP: Duration = Duration::from_secs(2);
/// The messages of one run stay on the broker's disk until its end.
const MESSAGES_MAX: u64 = 20_000_000;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let usage = "usage: orderwire-bench-peer URL SECONDS IN_FLIGHT [BYTES]";
    let url = words.next().ok_or(usage)?;
    let seconds: u64 = words.next().ok_or(usage)?.parse()?;
    let in_flight: usize = words.next().ok_or(usage)?.parse()?;
    let bytes: usize = words.next().map_or(Ok(512), |word| word.parse())?;
    if in_flight == 0 || seconds == 0 {
        return Err(usage.into());
    }
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(QUEUE.into(), durable, arguments).await?;

    run(&channel, WARM_UP, in_flight, bytes).await?;
    let (latencies, lasted) = run(&channel, Duration::from_secs(seconds), in_flight, bytes).await?;
    channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?;

    let millis = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1_000.0;
    let report = serde_json::json!({
        "in_flight": in_flight,
        "bytes": bytes,
        "messages": latencies.len(),
        "rate": latencies.len() as f64 / lasted.as_secs_f64(),
        "p50_ms": millis(0.5),
        "p99_ms": millis(0.99),
    });
    println!("{report}");
    Ok(())
}

/// Publishes for a while; returns the time from publish to confirm of each
/// message, in microseconds.
async fn run(
    channel: &Channel,
    time: Duration,
    in_flight: usize,
    bytes: usize,
) -> Result<(Histogram<u64>, Duration)> {
    let payload = vec![b'x'; bytes];
    let mut latencies = Histogram::new_with_bounds(1, 120_000_000, 3)?;
    let begun = Instant::now();
    let mut waiting = FuturesUnordered::new();
    let mut sent = 0;
    loop {
        while waiting.len() < in_flight && begun.elapsed() < time && sent < MESSAGES_MAX {
            waiting.push(publish(channel, &payload));
            sent += 1;
        }
        let Some(confirmed) = waiting.next().await else { break };
        latencies.saturating_record(u64::try_from(confirmed?.as_micros())?.max(1));
    }
    Ok((latencies, begun.elapsed()))
}

/// Publishes one persistent message; returns after the broker's confirm.
async fn publish(channel: &Channel, payload: &[u8]) -> Result<Duration> {
    let begun = Instant::now();
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let confirm =
        channel.basic_publish("".into(), QUEUE.into(), BasicPublishOptions::default(), payload, persistent);
    match confirm.await?.await? {
        Confirmation::Ack(None) => Ok(begun.elapsed()),
        other => Err(format!("the broker did not confirm: {other:?}").into()),
    }
}
