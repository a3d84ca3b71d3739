//! What happens while events are published as fast as ever: 500 a second by the clock, whether those
//! before are answered or not, of which every one that was acknowledged comes, once and in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::{PATIENCE, Server};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::broker::{consume, event};

/// How many events are offered in a second.
const RATE: u128 = 500;
/// How often it is looked at how many are due.
const TICK: Duration = Duration::from_millis(20);
/// How many are on their way at once; more wait, which on a busy machine is all that the load gives way.
const AT_ONCE: usize = 256;

/// Events that were acknowledged, by their numbers.
pub(crate) struct Acknowledged(BTreeMap<u64, Span>);

/// When an event was sent, and when its acknowledgement came.
#[derive(Clone, Copy)]
struct Span {
    sent: Instant,
    acknowledged: Instant,
}

/// Waits, beside the load, until so many more events came through the broker, and not only into the spool.
pub(crate) fn until_more_come(server: &Server, count: u64) -> Result<()> {
    Handle::current().block_on(more_come(server, count))
}

async fn more_come(server: &Server, count: u64) -> Result<()> {
    let ready = |queue: &Value| queue["ready"].as_u64().unwrap_or_default();
    let before = ready(&server.get("/v1/queues/shop").await?);
    let deadline = Instant::now() + 3 * PATIENCE;
    // A cluster may take its time to agree on who leads each consumer.
    while ready(&server.get("/v1/queues/shop").await?) < before + count {
        ensure!(Instant::now() < deadline, "nothing comes through: {}", server.log()?);
        // tidy: sleep because the queue is behind HTTP and is asked again
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Publishes 500 events a second while these faults happen.
pub(crate) async fn under_load(
    server: &Arc<Server>,
    faults: impl FnOnce() -> Result<()>,
) -> Result<Acknowledged> {
    let stop = Arc::new(AtomicBool::new(false));
    let (count, progress) = watch::channel(0);
    let load = tokio::spawn(offer(Arc::clone(server), Arc::clone(&stop), Arc::new(count)));
    let begun = Instant::now();
    let happened = tokio::task::block_in_place(faults);
    let (lasted, meanwhile) = (begun.elapsed(), *progress.borrow());
    stop.store(true, Ordering::SeqCst);
    let (offered, acknowledged) = load.await??;
    happened?;
    let rate = meanwhile as f64 / lasted.as_secs_f64();
    eprintln!(
        "{offered} events were offered at {RATE}/s in {lasted:.0?}, {meanwhile} of them acknowledged by then, which \
         is {rate:.0}/s, and {} {:.1?} later",
        acknowledged.len(),
        begun.elapsed() - lasted
    );
    // A machine may be too busy for all of it, but less would be no load.
    ensure!(rate > RATE as f64 / 5.0, "only {rate:.0} events a second were acknowledged");
    // The spool has room for all of it, so that no fault is seen by a producer.
    let refused = offered - acknowledged.len();
    ensure!(refused == 0, "{refused} of {offered} events were refused");
    Ok(Acknowledged(acknowledged))
}

/// Offers what is due by the clock, however late the answers are: how many that were, and which were
/// acknowledged.
async fn offer(
    server: Arc<Server>,
    stop: Arc<AtomicBool>,
    count: Arc<watch::Sender<u64>>,
) -> Result<(usize, BTreeMap<u64, Span>)> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let (mut calls, mut offered) = (JoinSet::new(), 0);
    let (begun, mut ticks) = (Instant::now(), tokio::time::interval(TICK));
    loop {
        ticks.tick().await;
        let is_last = stop.load(Ordering::SeqCst);
        let due = usize::try_from(begun.elapsed().as_millis() * RATE / 1000)?;
        for n in offered..due {
            let (server, places, count) = (server.clone(), places.clone(), count.clone());
            calls.spawn(async move {
                let _place = places.acquire().await?;
                let sent = Instant::now();
                let (status, body) = server.post("/v1/events", &event(n)).await?;
                ensure!(status == 202 || status == 503, "event {n}: {status}: {body}");
                let span = Span { sent, acknowledged: Instant::now() };
                if status == 202 {
                    count.send_modify(|count| *count += 1);
                }
                Ok((status == 202).then_some((n as u64, span)))
            });
        }
        offered = due;
        if is_last {
            break;
        }
    }
    let mut acknowledged = BTreeMap::new();
    while let Some(answer) = calls.join_next().await {
        acknowledged.extend(answer??);
    }
    Ok((offered, acknowledged))
}

/// Consumes them all: each came once, and in order. `left`: how many messages wait at the
/// broker for the intake.
pub(crate) async fn nothing_is_lost_or_doubled(
    server: &Server,
    Acknowledged(spans): &Acknowledged,
    left: impl Fn() -> Result<u64>,
) -> Result<()> {
    let (order, seen) = consume(server, spans.keys().copied()).await?;
    // Whatever was acknowledged before another was sent comes before it.
    let mut first: Option<(Instant, u64)> = None;
    for n in order.iter().rev() {
        let span = spans.get(n).with_context(|| format!("event {n} was refused, and came"))?;
        if let Some((acknowledged, later)) = first {
            ensure!(
                acknowledged >= span.sent,
                "event {later} was acknowledged before {n} was sent, and came behind it"
            );
        }
        if first.is_none_or(|(acknowledged, _)| span.acknowledged < acknowledged) {
            first = Some((span.acknowledged, *n));
        }
    }
    // What comes twice may come late: until nothing is on its way any more.
    server.until("/readyz", |ready| !ready["components"].to_string().contains("spool")).await?;
    let deadline = Instant::now() + PATIENCE;
    // A broker that was just started may not answer yet.
    loop {
        match left() {
            Ok(0) => break,
            left => ensure!(Instant::now() < deadline, "the intake does not take in what is left: {left:?}"),
        }
    }
    let queue = server.get("/v1/queues/shop").await?;
    ensure!(queue["ready"] == 0 && queue["in_flight"] == 0 && queue["dead"] == 0, "some came late: {queue}");
    let doubled: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).take(10).collect();
    ensure!(doubled.is_empty(), "came more than once: {doubled:?}");
    Ok(())
}
