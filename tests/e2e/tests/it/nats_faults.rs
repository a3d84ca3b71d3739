//! What goes wrong between the gateway and NATS, by the real binary and a real server: a bad wire,
//! a stream that is full. In all of it, what was answered with 202 comes, and comes once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::PATIENCE;
use orderwire_e2e::nats::Nats;
use orderwire_e2e::proxy::Proxy;
use serde_json::Value;

use crate::broker::{behind, event};
use crate::broker_faults::{each_once, of_broker, over_a_bad_wire, share_a_queue};

/// A stream that holds few of [`large`], and a queue of other people's consumers that
/// holds them all until somebody reads it.
const SMALL: &str = "  full: {types: ['shop.#'], native: true}\nbroker: {nats: {bytes: 1MiB}";

/// How many of them it holds.
const HELD: u64 = 20;

/// An event that takes its place.
fn large(n: usize) -> Value {
    let mut event = event(n);
    event["data"]["pad"] = "x".repeat(50_000).into();
    event
}

/// Somebody reads the native queue until all these came, each once.
fn read(nats: &Nats, wanted: &BTreeSet<u64>) -> Result<()> {
    let mut came = BTreeSet::new();
    while came.len() < wanted.len() {
        let event = nats.pull("full")?;
        let n = event["data"]["n"].as_u64().context("a number")?;
        ensure!(came.insert(n), "event {n} came twice");
    }
    ensure!(came == *wanted, "{came:?} came instead of {wanted:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wire_that_is_slow_cut_or_silent_loses_and_doubles_nothing() -> Result<()> {
    let (nats, folder) = (Nats::started()?, tempfile::tempdir()?);
    let proxy = Proxy::to(nats.port()).await?;
    let server = behind(&format!("nats://127.0.0.1:{}", proxy.port()), folder.path(), "")?;
    let taken = over_a_bad_wire(&server, &proxy).await?;
    each_once(&server, taken).await?;
    ensure!(nats.unacked("shop")? == 0);
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn two_intakes_of_one_queue_share_what_is_in_it() -> Result<()> {
    let nats = Nats::started()?;
    share_a_queue(&nats.url(), || {
        (1000..1100).try_for_each(|n| nats.publish("orderwire.queue.shop", &event(n).to_string()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_in_the_spool_while_the_stream_is_full() -> Result<()> {
    let (nats, folder) = (Nats::started()?, tempfile::tempdir()?);
    let server = behind(&nats.url(), folder.path(), &format!("{SMALL}}}\n"))?;
    let mut taken = BTreeSet::new();
    let deadline = Instant::now() + PATIENCE;
    let mut take = async |n: usize| -> Result<()> {
        let (status, body) = server.post("/v1/events", &large(n)).await?;
        ensure!(status == 202, "event {n}: {status}: {body}");
        taken.insert(n as u64);
        Ok(())
    };
    // The relay puts in what goes in; then there is no room for one more.
    for n in 0..40 {
        take(n).await?;
    }
    while nats.unacked("full").unwrap_or(0) < HELD {
        ensure!(Instant::now() < deadline, "it is not full");
    }
    for n in 40..60 {
        take(n).await?;
    }
    let ready = server.get("/readyz").await?;
    // At least these: of those before, some may have found the stream full already.
    let kept = of_broker(&ready).split_once(" events of the spool").and_then(|(kept, _)| kept.parse().ok());
    ensure!(ready["status"] == "ready" && kept >= Some(20), "{ready}");
    tokio::task::block_in_place(|| read(&nats, &taken))?;
    each_once(&server, taken).await?;
    let native = server.until("/v1/queues/full", |queue| queue["ready"] == 0).await?;
    ensure!(native["dead"] == 0 && native["in_flight"] == 0, "{native}");
    ensure!(nats.unacked("full")? == 0 && nats.unacked("shop")? == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_spool_events_are_refused_while_the_stream_is_full() -> Result<()> {
    let (nats, folder) = (Nats::started()?, tempfile::tempdir()?);
    let server = behind(&nats.url(), folder.path(), &format!("{SMALL}, spool: {{events: 0}}}}\n"))?;
    // The queues are made by intakes, which nobody waits for without a spool.
    server.until("/readyz", |ready| of_broker(ready).is_empty()).await?;
    let (mut taken, mut refused) = (BTreeSet::new(), 0);
    let deadline = Instant::now() + PATIENCE;
    let mut next = 0;
    while refused < 20 {
        ensure!(Instant::now() < deadline, "{refused} of {next} were refused");
        let response =
            server.http.post(format!("{}/v1/events", server.url)).json(&large(next)).send().await?;
        let status = response.status();
        ensure!(status == 202 || status == 503, "event {next}: {status}: {}", response.text().await?);
        if status == 202 {
            taken.insert(next as u64);
        } else {
            ensure!(response.headers().contains_key("retry-after"), "{response:?}");
            refused += 1;
        }
        next += 1;
    }
    tokio::task::block_in_place(|| read(&nats, &taken))?;
    // There is room again, as soon as the stream was swept.
    let again = 1_000_000;
    while server.post("/v1/events", &large(again)).await?.0 != 202 {
        ensure!(Instant::now() < deadline, "nothing is taken although there is room");
        // tidy: sleep because a server's sweep is no event
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    taken.insert(again as u64);
    each_once(&server, taken).await
}
