//! Faults around the process: a folder in use, damage, a full disk, consumers
//! that vanish, poison.

use std::collections::BTreeSet;
use std::io::{Seek, SeekFrom, Write};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::disk::Disk;
use orderwire_e2e::{PATIENCE, Server, Start, run};
use serde_json::{Value, json};

#[tokio::test]
async fn a_second_server_on_the_same_folder_says_who_has_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let server = Server::start(&data, &Start::default())?;
    let second = run(&["up", "--listen", "127.0.0.1:0", "--data", &data.to_string_lossy()])?;
    ensure!(second.code != 0, "{second:?}");
    ensure!(second.stderr.contains(&server.pid().to_string()), "{second:?}");
    ensure!(second.stderr.contains(&*data.to_string_lossy()), "{second:?}");
    ensure!(server.get("/v1/whoami").await?["principal"].is_string());
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_damaged_file_is_named_and_left_alone() -> Result<()> {
    for name in ["queue.db", "store.db"] {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("data");
        Server::start(&data, &Start::default())?.stop()?;
        let path = data.join(name);
        let mut file = std::fs::OpenOptions::new().write(true).open(&path)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&[0xAA; 4096])?;
        let before = std::fs::read(&path)?;
        let ran = run(&["up", "--listen", "127.0.0.1:0", "--data", &data.to_string_lossy()])?;
        ensure!(ran.code != 0 && ran.stderr.contains(name), "{ran:?}");
        ensure!(std::fs::read(&path)? == before, "{name} was changed");
    }
    Ok(())
}

#[tokio::test]
async fn a_port_in_use_and_a_faulty_configuration_are_one_clear_sentence() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let data = folder.path().join("data");
    let ran = run(&["up", "--listen", &address, "--data", &data.to_string_lossy()])?;
    ensure!(ran.code == 1 && ran.stderr.contains(&address) && ran.stderr.contains("--listen"), "{ran:?}");

    let config = folder.path().join("bad.yaml");
    std::fs::write(&config, "viewz: {}\nviews:\n  a: {path: /v1/keys, dataset: nowhere}\n")?;
    let ran = run(&["up", "--config", &config.to_string_lossy(), "--data", &data.to_string_lossy()])?;
    ensure!(ran.code != 0, "{ran:?}");
    for fault in ["viewz", "bad.yaml:1", "nowhere", "/v1/keys"] {
        ensure!(ran.stderr.contains(fault), "{fault} is missing in {}", ran.stderr);
    }
    Ok(())
}

/// Mounting a small file system needs root; CI has it.
#[tokio::test]
async fn a_full_disk_is_503_and_loses_nothing() -> Result<()> {
    let Some(disk) = Disk::of_mib(24)? else { return Ok(()) };
    let server = Server::start(&disk.path().join("data"), &Start::default())?;
    let ballast = disk.leave(12)?;
    let (status, answer) = server.post("/v1/queues", &json!({"name": "full", "types": ["full.#"]})).await?;
    ensure!(status < 300, "{answer}");
    let mut acknowledged = BTreeSet::new();
    let padding = "x".repeat(100_000);
    let mut n = 0;
    let refused = loop {
        let (status, answer) = server.post("/v1/events/full.a", &json!({"n": n, "padding": padding})).await?;
        if status != 202 {
            break (status, answer);
        }
        acknowledged.insert(n);
        n += 1;
        ensure!(n < 1_000, "the disk never got full");
    };
    ensure!(refused.0 == 503, "{refused:?}");
    ensure!(refused.1["type"].as_str().is_some_and(|slug| slug.ends_with("/unavailable")), "{refused:?}");
    let body = json!({"n": n, "padding": padding});
    let answer = server.http.post(format!("{}/v1/events/full.a", server.url)).json(&body).send().await?;
    ensure!(answer.status() == 503 && answer.headers().contains_key("retry-after"), "{answer:?}");
    // Reads go on.
    ensure!(server.get("/v1/queues/full").await?["ready"] == acknowledged.len());
    // With space again, so do writes, without a restart.
    std::fs::remove_file(&ballast)?;
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let (status, answer) = server.post("/v1/events/full.a", &json!({"n": n, "padding": "y"})).await?;
        if status == 202 {
            acknowledged.insert(n);
            break;
        }
        ensure!(status == 503 && std::time::Instant::now() < deadline, "{status}: {answer}");
    }
    let mut found = BTreeSet::new();
    loop {
        let (_, leased) = server.post("/v1/queues/full/lease", &json!({"max": 100})).await?;
        let deliveries = leased["deliveries"].as_array().context("deliveries")?;
        if deliveries.is_empty() {
            break;
        }
        let ids: Vec<&Value> = deliveries.iter().map(|delivery| &delivery["delivery_id"]).collect();
        found.extend(deliveries.iter().filter_map(|delivery| delivery["event"]["data"]["n"].as_u64()));
        let (status, answer) = server.post("/v1/queues/full/ack", &json!({"delivery_ids": ids})).await?;
        ensure!(status == 200, "{answer}");
    }
    ensure!(found == acknowledged, "{found:?} instead of {acknowledged:?}");
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn deliveries_of_a_consumer_that_vanished_come_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&folder.path().join("data"), &Start::default())?;
    server.post("/v1/queues", &json!({"name": "gone", "types": ["gone.#"]})).await?;
    server.post("/v1/events/gone.a", &json!({"n": 1})).await?;
    let (_, first) = server.post("/v1/queues/gone/lease", &json!({"max": 1, "lease_ms": 200})).await?;
    let lost = &first["deliveries"][0]["delivery_id"];
    // The consumer never comes back; somebody else waits for work.
    let (status, second) = server
        .post("/v1/queues/gone/lease", &json!({"max": 1, "wait_ms": 30_000, "lease_ms": 60_000}))
        .await?;
    ensure!(status == 200 && second["deliveries"][0]["attempt"] == 2, "{second}");
    let (status, late) = server.post("/v1/queues/gone/ack", &json!({"delivery_ids": [lost]})).await?;
    ensure!(status == 409, "an ack after the lease ran out is reported: {status}: {late}");
    let id = &second["deliveries"][0]["delivery_id"];
    let (status, _) = server.post("/v1/queues/gone/ack", &json!({"delivery_ids": [id]})).await?;
    ensure!(status == 200);
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn one_poisoned_event_among_1000_delays_only_its_own_key() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&folder.path().join("data"), &Start::default())?;
    let queue = json!({"name": "mixed", "types": ["mixed.#"], "attempts": 2});
    let (status, answer) = server.post("/v1/queues", &queue).await?;
    ensure!(status < 300, "{answer}");
    let event = |n: usize| {
        format!(
            r#"{{"specversion":"1.0","id":"{n}","source":"/test","type":"mixed.a","partitionkey":"k{}","data":{{"n":{n}}}}}"#,
            if n == 500 { 7 } else { n % 100 }
        )
    };
    let lines: Vec<String> = (0..1_000).map(event).collect();
    let response = server
        .http
        .post(format!("{}/v1/events", server.url))
        .header("content-type", "application/x-ndjson")
        .body(lines.join("\n"))
        .send()
        .await?;
    ensure!(response.status() == 202, "{}", response.text().await?);
    let mut done = BTreeSet::new();
    let mut order_of_7 = Vec::new();
    let mut failures = 0;
    while done.len() < 999 {
        let (_, leased) =
            server.post("/v1/queues/mixed/lease", &json!({"max": 100, "wait_ms": 20_000})).await?;
        let deliveries = leased["deliveries"].as_array().context("deliveries")?;
        ensure!(!deliveries.is_empty(), "{} done and nothing comes", done.len());
        let mut acks = Vec::new();
        let mut poisoned = false;
        for delivery in deliveries {
            let event = &delivery["event"];
            let n = event["data"]["n"].as_u64().context("n")?;
            if n == 500 {
                // While the poison waits, all other keys have to come.
                failures += 1;
                ensure!(failures == 1 || done.len() >= 994, "only {} came meanwhile", done.len());
                let body =
                    json!({"delivery_ids": [delivery["delivery_id"]], "delay_ms": 5_000, "cause": "poison"});
                let (status, answer) = server.post("/v1/queues/mixed/nack", &body).await?;
                ensure!(status == 200, "{answer}");
                poisoned = true;
                continue;
            }
            if poisoned && event["partitionkey"] == "k7" {
                // What came behind it in the same lease was returned with it.
                continue;
            }
            if event["partitionkey"] == "k7" {
                ensure!(n < 500 || failures == 2, "event {n} overtook the poison of its key");
                order_of_7.push(n);
            }
            acks.push(&delivery["delivery_id"]);
            done.insert(n);
        }
        if !acks.is_empty() {
            let (status, answer) =
                server.post("/v1/queues/mixed/ack", &json!({"delivery_ids": acks})).await?;
            ensure!(status == 200, "{answer}");
        }
    }
    ensure!(order_of_7.is_sorted(), "{order_of_7:?}");
    let dead = server.get("/v1/dead?queue=mixed").await?;
    ensure!(dead["items"].as_array().is_some_and(|all| all.len() == 1), "{dead}");
    ensure!(dead["items"][0]["cause"] == "poison" && dead["items"][0]["attempts"] == 2, "{dead}");
    ensure!(server.stop()?.success());
    Ok(())
}
