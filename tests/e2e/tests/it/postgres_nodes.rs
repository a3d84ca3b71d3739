//! Several servers on one PostgreSQL.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::postgres::Postgres;
use orderwire_e2e::redis::Redis;
use orderwire_e2e::{PATIENCE, Server, Start, client, processes};
use reqwest::Method;
use serde_json::{Value, json};

use crate::orders::{ordered, text};
use crate::postgres::on;

/// How old what another node serves may be.
const SECOND: Duration = Duration::from_secs(1);

/// A server with a folder of its own.
fn node(folder: &Path, name: &str, start: &Start) -> Result<Server> {
    Server::start(&folder.join(name), start)
}

/// The same with a configuration.
fn configured(folder: &Path, name: &str, start: &Start, config: &str) -> Result<Server> {
    let file = folder.join(format!("{name}.yaml"));
    std::fs::write(&file, config)?;
    let flags = vec!["--config".to_owned(), file.to_string_lossy().into_owned()];
    node(folder, name, &Start { flags, ..start.clone() })
}

#[tokio::test]
async fn what_one_node_writes_another_reads_within_a_second() -> Result<()> {
    let postgres = Postgres::started()?;
    fresh(&on(&postgres)).await
}

#[tokio::test]
async fn what_one_node_writes_another_reads_within_a_second_with_a_redis_between() -> Result<()> {
    let Some(redis) = Redis::started(&[])? else { return Ok(()) };
    let postgres = Postgres::started()?;
    let mut start = on(&postgres);
    start.env.push(("ORDERWIRE__CACHE__URL".to_owned(), redis.url()));
    fresh(&start).await
}

async fn fresh(start: &Start) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (one, two) = (node(folder.path(), "one", start)?, node(folder.path(), "two", start)?);
    let dataset = json!({"fields": [{"name": "n", "type": "integer"}]});
    let (status, answer) = one.send(Method::PUT, "/v1/datasets/fresh", &dataset).await?;
    ensure!(status < 300, "{answer}");
    let path = "/rest/fresh?select=n&order=n.asc";
    let defined = Instant::now();
    while !two.http.get(format!("{}{path}", two.url)).send().await?.status().is_success() {
        ensure!(defined.elapsed() < SECOND, "a dataset of the other node is not known after {SECOND:?}");
    }
    for n in 0..20 {
        // Both have the answer of before ready.
        for server in [&one, &two] {
            server.get(path).await?;
        }
        let (writes, reads) = if n % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let wanted = |rows: &Value| rows.as_array().is_some_and(|rows| rows.len() == n + 1);
        let (status, answer) = writes.post("/v1/datasets/fresh/rows", &json!([{"n": n}])).await?;
        ensure!(status == 202, "{answer}");
        writes.until(path, wanted).await?;
        let recorded = Instant::now();
        reads.until(path, wanted).await?;
        let late = recorded.elapsed();
        ensure!(late < SECOND, "row {n} is to be seen after {late:?}");
    }
    for server in [one, two] {
        ensure!(server.stop()?.success());
    }
    Ok(())
}

#[tokio::test]
async fn deliveries_are_with_one_consumer_whichever_node_it_asks() -> Result<()> {
    const EVENTS: u64 = 300;
    let (postgres, folder) = (Postgres::started()?, tempfile::tempdir()?);
    let start = on(&postgres);
    let config = "queues: {work: {types: ['work.#'], attempts: 3}}\n";
    let (one, two) = (
        configured(folder.path(), "one", &start, config)?,
        configured(folder.path(), "two", &start, config)?,
    );
    let publish = async |server: &Server, from: u64| {
        for n in (from..EVENTS).step_by(2) {
            let event = json!({"specversion": "1.0", "id": format!("{n}"), "source": "/s", "type": "work.a",
                               "client": "acme", "partitionkey": format!("{}", n % 10), "data": {"n": n}});
            let (status, answer) = server.post("/v1/events", &event).await?;
            ensure!(status == 202, "{answer}");
        }
        Ok::<_, anyhow::Error>(())
    };
    let consume = async |server: &Server| {
        let mut found = Vec::new();
        loop {
            let (status, leased) =
                server.post("/v1/queues/work/lease", &json!({"max": 7, "wait_ms": 2_000})).await?;
            ensure!(status == 200, "{leased}");
            let deliveries = leased["deliveries"].as_array().context("deliveries")?;
            if deliveries.is_empty() {
                return Ok::<_, anyhow::Error>(found);
            }
            for delivery in deliveries {
                ensure!(delivery["attempt"] == 1, "it comes again: {delivery}");
                found.push(delivery["event"]["data"]["n"].as_u64().context("n")?);
            }
            let ids: Vec<_> = deliveries.iter().map(|delivery| &delivery["delivery_id"]).collect();
            let (status, answer) = server.post("/v1/queues/work/ack", &json!({"delivery_ids": ids})).await?;
            ensure!(status == 200, "{answer}");
        }
    };
    let ((), (), of_one, of_two) =
        tokio::try_join!(publish(&one, 0), publish(&two, 1), consume(&one), consume(&two))?;
    ensure!(
        !of_one.is_empty() && !of_two.is_empty(),
        "one node had it all: {} {}",
        of_one.len(),
        of_two.len()
    );
    let all: BTreeSet<u64> = of_one.iter().chain(&of_two).copied().collect();
    ensure!(all.len() as u64 == EVENTS, "{} of {EVENTS}", all.len());
    ensure!(of_one.len() + of_two.len() == all.len(), "some came twice");
    // What one leases, it may settle at the other, and nobody else gets it meanwhile.
    let (status, answer) = one.post("/v1/events/work.a", &json!({"n": 0})).await?;
    ensure!(status == 202, "{answer}");
    let (_, leased) =
        one.post("/v1/queues/work/lease", &json!({"wait_ms": 30_000, "lease_ms": 60_000})).await?;
    let (_, none) = two.post("/v1/queues/work/lease", &json!({"wait_ms": 300})).await?;
    ensure!(none["deliveries"] == json!([]), "{none}");
    let ids = json!({"delivery_ids": [leased["deliveries"][0]["delivery_id"]]});
    let (status, acked) = two.post("/v1/queues/work/ack", &ids).await?;
    ensure!(status == 200, "{acked}");
    Ok(())
}

#[tokio::test]
async fn a_node_that_is_killed_is_gone_on_from_by_the_other() -> Result<()> {
    let (postgres, folder) = (Postgres::started()?, tempfile::tempdir()?);
    let start = on(&postgres);
    // The first has every turn.
    let one = node(folder.path(), "one", &start)?;
    let order = ordered(&one, &json!({"client": "acme", "product": "sensor"})).await?;
    ensure!(order["state"] == "ready", "{order}");
    let release = text(&order, "release_id")?.to_owned();
    let two = node(folder.path(), "two", &start)?;
    let before = processes::until_count(&release, |count| count > 0)?;
    // An order that one node takes is worked on by the other.
    let other = ordered(&two, &json!({"client": "acme", "product": "web"})).await?;
    ensure!(other["state"] == "ready", "{other}");
    ensure!(processes::of_data(&folder.path().join("two"))?.is_empty(), "both run releases");
    let (status, answer) = two.post("/v1/queues", &json!({"name": "work", "types": ["work.#"]})).await?;
    ensure!(status < 300, "{answer}");
    let (status, answer) = two.post("/v1/events/work.a", &json!({"n": 1})).await?;
    ensure!(status == 202, "{answer}");
    let (_, held) = one.post("/v1/queues/work/lease", &json!({"wait_ms": 30_000, "lease_ms": 2_000})).await?;
    ensure!(held["deliveries"].as_array().is_some_and(|all| all.len() == 1), "{held}");
    let dataset = json!({"fields": [{"name": "n", "type": "integer"}]});
    let (status, answer) = one.send(Method::PUT, "/v1/datasets/after", &dataset).await?;
    ensure!(status < 300, "{answer}");
    one.kill()?;
    // Its lease runs out, its turns are the other's, and so are its releases.
    let (_, again) = two.post("/v1/queues/work/lease", &json!({"wait_ms": 30_000})).await?;
    ensure!(again["deliveries"][0]["attempt"] == 2, "{again}");
    let (status, answer) = two.post("/v1/datasets/after/rows", &json!([{"n": 1}])).await?;
    ensure!(status == 202, "{answer}");
    two.until("/rest/after", |rows| rows.as_array().is_some_and(|rows| rows.len() == 1)).await?;
    let deadline = Instant::now() + PATIENCE;
    while processes::of_data(&folder.path().join("two"))?.is_empty() {
        ensure!(Instant::now() < deadline, "the release does not run again; it ran as {before:?}");
        // tidy: sleep because the processes are no children of ours and there is no event to await
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let removed = ordered(&two, &json!({"client": "acme", "product": "sensor", "action": "remove"})).await?;
    ensure!(removed["state"] == "removed", "{removed}");
    processes::until_count(&release, |count| count == 0)?;
    ensure!(two.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn the_key_of_each_data_folder_is_taken_by_all_nodes() -> Result<()> {
    let (postgres, folder) = (Postgres::started()?, tempfile::tempdir()?);
    let start = on(&postgres);
    let (one, two) = (node(folder.path(), "one", &start)?, node(folder.path(), "two", &start)?);
    ensure!(one.key != two.key, "they share a key");
    ensure!(one.stop()?.success());
    let one = node(folder.path(), "one", &start)?;
    for server in [&one, &two] {
        for key in [&one.key, &two.key] {
            let answer = client(key)?.get(format!("{}/v1/whoami", server.url)).send().await?;
            ensure!(answer.status() == 200, "{answer:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_node_with_other_queues_takes_none_away_while_another_has_them() -> Result<()> {
    let (postgres, folder) = (Postgres::started()?, tempfile::tempdir()?);
    let start = on(&postgres);
    let shop = "queues: {shop: {types: ['shop.#'], attempts: 4}}\n";
    let one = configured(folder.path(), "one", &start, shop)?;
    let two = node(folder.path(), "two", &start)?;
    for server in [&one, &two] {
        let (status, answer) = server.post("/v1/events/shop.sold", &json!({})).await?;
        ensure!(status == 202 && answer["queues"] == json!(["shop"]), "{status}: {answer}");
    }
    ensure!(two.log()?.contains("stay bound") && two.log()?.contains("shop"), "{}", two.log()?);
    // Other settings hold for all, and are told.
    ensure!(two.stop()?.success());
    let two = configured(folder.path(), "two", &start, "queues: {shop: {types: ['shop.#'], attempts: 7}}\n")?;
    let deadline = Instant::now() + PATIENCE;
    while !one.log()?.contains("configures these queues otherwise") {
        ensure!(Instant::now() < deadline, "{}", one.log()?);
        // tidy: sleep because a line of a log is no event
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // When nobody has it any more it is bound to nothing.
    for server in [one, two] {
        ensure!(server.stop()?.success());
    }
    let three = node(folder.path(), "three", &start)?;
    let (status, answer) = three.post("/v1/events/shop.sold", &json!({})).await?;
    ensure!(status == 422, "{status}: {answer}");
    ensure!(three.get("/v1/queues/shop").await?["ready"] == 2, "what it held");
    Ok(())
}

/// Rows come in at two nodes of which one is killed and started again, whichever of them
/// records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_recorded_once_whoever_records() -> Result<()> {
    let (postgres, folder) = (Postgres::started()?, tempfile::tempdir()?);
    let start = on(&postgres);
    let mut nodes = vec![node(folder.path(), "0", &start)?, node(folder.path(), "1", &start)?];
    let dataset = json!({"fields": [{"name": "n", "type": "integer"}]});
    let (status, answer) = nodes[0].send(Method::PUT, "/v1/datasets/once", &dataset).await?;
    ensure!(status < 300, "{answer}");
    nodes[1].until("/v1/datasets", |all| all.to_string().contains("once")).await?;
    let next = Arc::<AtomicU64>::default();
    let mut acknowledged = BTreeSet::new();
    for round in 0..4 {
        let stop = Arc::<AtomicBool>::default();
        let posters: Vec<_> = nodes
            .iter()
            .map(|server| {
                let (url, http) = (server.url.clone(), server.http.clone());
                tokio::spawn(post_rows(url, http, next.clone(), stop.clone()))
            })
            .collect();
        let (begun, wanted) = (next.load(Ordering::Relaxed), 100);
        let deadline = Instant::now() + PATIENCE;
        while next.load(Ordering::Relaxed) < begun + wanted {
            ensure!(Instant::now() < deadline, "round {round}: nothing is taken");
            // tidy: sleep because what posters have got so far is looked at again
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The recorder is in turn the one that is killed and the one that stays.
        let killed = nodes.remove(round % 2);
        killed.kill()?;
        stop.store(true, Ordering::Relaxed);
        for poster in posters {
            acknowledged.extend(poster.await??);
        }
        nodes.insert(round % 2, node(folder.path(), &(round % 2).to_string(), &start)?);
    }
    let server = &nodes[0];
    server.until("/v1/queues/data", |queue| queue["ready"] == 0 && queue["in_flight"] == 0).await?;
    let rows = server.get("/rest/once?select=n&limit=1000000").await?;
    let rows: Vec<u64> =
        rows.as_array().context("rows")?.iter().filter_map(|row| row["n"].as_u64()).collect();
    let found: BTreeSet<u64> = rows.iter().copied().collect();
    ensure!(found.len() == rows.len(), "a row is there twice");
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    ensure!(
        lost.is_empty() && acknowledged.len() > 200,
        "{} acknowledged, lost: {lost:?}",
        acknowledged.len()
    );
    Ok(())
}

/// Posts rows until it has to stop or its server is gone; the numbers that were acknowledged.
async fn post_rows(
    url: String,
    http: reqwest::Client,
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> Result<Vec<u64>> {
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let Ok(answer) =
            http.post(format!("{url}/v1/datasets/once/rows")).json(&json!([{"n": n}])).send().await
        else {
            break;
        };
        match answer.status().as_u16() {
            202 => acknowledged.push(n),
            status => ensure!(status == 503, "{status}: {}", answer.text().await?),
        }
    }
    Ok(acknowledged)
}
