//! A PostgreSQL that goes away, and comes back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use orderwire_e2e::postgres::Postgres;
use orderwire_e2e::{PATIENCE, Server};
use reqwest::Method;
use serde_json::json;

use crate::postgres::on;

/// The numbers of what was acknowledged.
#[derive(Default)]
struct Acknowledged {
    rows: Mutex<BTreeSet<u64>>,
    events: Mutex<BTreeSet<u64>>,
}

#[tokio::test]
async fn a_postgresql_that_goes_away_is_said_and_comes_back_by_itself() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let postgres = Postgres::started()?;
    let server = Server::start(&folder.path().join("data"), &on(&postgres))?;
    let (status, answer) = server.post("/v1/queues", &json!({"name": "work", "types": ["work.#"]})).await?;
    ensure!(status < 300, "{answer}");
    ensure!(until_ready(&server, true).await?["ready"] != false);
    postgres.stop("fast")?;
    let told = until_ready(&server, false).await?;
    ensure!(told.to_string().contains("store"), "{told}");
    let url = format!("{}/v1/events/work.a", server.url);
    let refused = server.http.post(&url).json(&json!({"n": 1})).send().await?;
    ensure!(refused.status() == 503 && refused.headers().contains_key("retry-after"), "{refused:?}");
    postgres.start()?;
    until_ready(&server, true).await?;
    let taken = server.http.post(&url).json(&json!({"n": 2})).send().await?;
    ensure!(taken.status() == 202, "{taken:?}");
    ensure!(server.stop()?.success());
    Ok(())
}

/// Asks `/readyz` until it says so; its answer.
async fn until_ready(server: &Server, ready: bool) -> Result<serde_json::Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = server.http.get(format!("{}/readyz", server.url)).send().await?;
        let is_ready = answer.status().is_success();
        let text = answer.text().await?;
        if is_ready == ready {
            return Ok(serde_json::from_str(&text)?);
        }
        ensure!(Instant::now() < deadline, "never ready={ready}: {text}");
        // tidy: sleep because the condition is behind HTTP and is asked for again
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_postgresql_under_load_loses_and_repeats_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let postgres = Postgres::started()?;
    let server = Server::start(&folder.path().join("data"), &on(&postgres))?;
    let dataset = json!({"fields": [{"name": "n", "type": "integer"}]});
    let (status, answer) = server.send(Method::PUT, "/v1/datasets/load", &dataset).await?;
    ensure!(status < 300, "{answer}");
    let (status, answer) = server
        .post("/v1/queues", &json!({"name": "work", "types": ["load.work"], "key": "none", "attempts": 1000}))
        .await?;
    ensure!(status < 300, "{answer}");
    let (next, stop, acknowledged) =
        (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default(), Arc::<Acknowledged>::default());
    let posters: Vec<_> = (0..6)
        .map(|kind| {
            let (url, http) = (server.url.clone(), server.http.clone());
            tokio::spawn(post(url, http, kind < 3, next.clone(), stop.clone(), acknowledged.clone()))
        })
        .collect();
    let count = |known: &Mutex<BTreeSet<u64>>| known.lock().expect("no poster panicked").len();
    for mode in ["fast", "immediate"] {
        let before = (count(&acknowledged.rows), count(&acknowledged.events));
        let deadline = Instant::now() + PATIENCE;
        while count(&acknowledged.rows) < before.0 + 50 || count(&acknowledged.events) < before.1 + 50 {
            ensure!(Instant::now() < deadline, "nothing is acknowledged before {mode}");
            // tidy: sleep because what posters have got so far is looked at again
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        postgres.stop(mode)?;
        postgres.start()?;
    }
    until_ready(&server, true).await?;
    stop.store(true, Ordering::Relaxed);
    for poster in posters {
        poster.await??;
    }
    server.until("/v1/queues/data", |queue| queue["ready"] == 0 && queue["in_flight"] == 0).await?;
    let rows = server.get("/rest/load?select=n&limit=1000000").await?;
    let rows: Vec<u64> =
        rows.as_array().context("rows")?.iter().filter_map(|row| row["n"].as_u64()).collect();
    all_once("row", &rows, &acknowledged.rows)?;
    let mut events = Vec::new();
    loop {
        let (status, leased) =
            server.post("/v1/queues/work/lease", &json!({"max": 500, "lease_ms": 60_000})).await?;
        ensure!(status == 200, "{leased}");
        let deliveries = leased["deliveries"].as_array().context("deliveries")?;
        if deliveries.is_empty() {
            break;
        }
        events.extend(deliveries.iter().filter_map(|delivery| delivery["event"]["data"]["n"].as_u64()));
        let ids: Vec<_> = deliveries.iter().map(|delivery| &delivery["delivery_id"]).collect();
        let (status, answer) = server.post("/v1/queues/work/ack", &json!({"delivery_ids": ids})).await?;
        ensure!(status == 200, "{answer}");
    }
    all_once("event", &events, &acknowledged.events)?;
    ensure!(server.stop()?.success());
    Ok(())
}

fn all_once(what: &str, found: &[u64], acknowledged: &Mutex<BTreeSet<u64>>) -> Result<()> {
    let numbers: BTreeSet<u64> = found.iter().copied().collect();
    ensure!(numbers.len() == found.len(), "a {what} is there twice");
    let acknowledged = acknowledged.lock().expect("no poster panicked");
    let lost: Vec<_> = acknowledged.difference(&numbers).collect();
    ensure!(
        lost.is_empty() && acknowledged.len() > 100,
        "{} acknowledged, lost: {lost:?}",
        acknowledged.len()
    );
    Ok(())
}

async fn post(
    url: String,
    http: reqwest::Client,
    is_row: bool,
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Acknowledged>,
) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let path = if is_row { "/v1/datasets/load/rows" } else { "/v1/events/load.work" };
        let body = if is_row { json!([{"n": n}]) } else { json!({"n": n}) };
        let answer = http.post(format!("{url}{path}")).json(&body).send().await?;
        match answer.status().as_u16() {
            202 => {
                let known = if is_row { &acknowledged.rows } else { &acknowledged.events };
                known.lock().expect("no poster panicked").insert(n);
            }
            503 => {}
            status => anyhow::bail!("{status}: {}", answer.text().await?),
        }
    }
    Ok(())
}
