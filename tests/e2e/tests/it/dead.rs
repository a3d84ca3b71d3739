//! Dead letters as a product: mended, put back at a rate, cancelled, and never
//! twice, through the real binary.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::{Ran, Server, Start, binary};
use serde_json::{Value, json};

use crate::cli::{Site, fails};

/// So many dead letters of the queue `work`; the ids of their events.
async fn bury(server: &Server, count: usize) -> Result<BTreeSet<String>> {
    let (status, answer) =
        server.post("/v1/queues", &json!({"name": "work", "types": ["work.#"], "attempts": 1})).await?;
    ensure!(status < 300, "{status}: {answer}");
    let lines: String = (0..count).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let url = format!("{}/v1/events/work.one", server.url);
    let request = server.http.post(url).header("content-type", "application/x-ndjson").body(lines);
    ensure!(request.send().await?.status() == 202);
    let mut buried = BTreeSet::new();
    // What is of one client comes in order: no more until those before are settled.
    while buried.len() < count {
        let (ids, deliveries) = lease(server).await?;
        ensure!(!ids.is_empty(), "{} of {count} events came", buried.len());
        let nack = json!({"delivery_ids": deliveries, "fail": true, "cause": "the address is wrong"});
        let (status, answer) = server.post("/v1/queues/work/nack", &nack).await?;
        ensure!(status == 200, "{status}: {answer}");
        buried.extend(ids);
    }
    Ok(buried)
}

/// Leases everything that waits: the ids of events, each of which must be there
/// once, and of deliveries.
async fn lease(server: &Server) -> Result<(BTreeSet<String>, Vec<Value>)> {
    let (mut ids, mut all) = (BTreeSet::new(), Vec::new());
    loop {
        let (status, leased) =
            server.post("/v1/queues/work/lease", &json!({"max": 1_000, "lease_ms": 60_000})).await?;
        ensure!(status == 200, "{status}: {leased}");
        let deliveries = leased["deliveries"].as_array().context("deliveries")?;
        if deliveries.is_empty() {
            return Ok((ids, all));
        }
        for delivery in deliveries {
            let id = delivery["event"]["eventid"].as_str().context("an id")?.to_owned();
            ensure!(ids.insert(id), "an event came twice: {delivery}");
            all.push(delivery["delivery_id"].clone());
        }
    }
}

async fn counts(server: &Server) -> Result<(u64, u64)> {
    let queue = server.get("/v1/queues/work").await?;
    Ok((queue["ready"].as_u64().context("ready")?, queue["dead"].as_u64().context("dead")?))
}

/// Begins a command and leaves it running.
fn begin(site: &Site, words: &[&str]) -> Result<Child> {
    let command = Command::new(binary())
        .args(["--server", &site.server.url, "--key", &site.server.key, "--output", "json"])
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    command.context("starting a command")
}

fn interrupt(child: &Child) -> Result<()> {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
    ensure!(status.success(), "kill -INT failed");
    Ok(())
}

/// Waits for the end of a command.
fn ended(child: Child) -> Result<Ran> {
    let output = child.wait_with_output()?;
    Ok(Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

#[tokio::test]
async fn a_replay_is_cancelled_in_the_middle_and_a_second_puts_back_the_rest_once() -> Result<()> {
    let site = Site::start()?;
    let published = bury(&site.server, 200).await?;
    let counted = site.json(&["dead", "replay", "--queue", "work", "--rate", "40", "--dry-run"])?;
    ensure!(counted["count"] == 200 && counted["dry_run"] == true, "{counted}");
    fails(&site.run(&["dead", "replay", "--all", "--rate", "0"])?, 7, &["/rate"])?;

    let follower = begin(&site, &["dead", "replay", "--queue", "work", "--rate", "40"])?;
    let seen =
        site.server.until("/v1/dead/replays", |all| all["items"][0]["done"].as_u64() >= Some(5)).await?;
    ensure!(seen["items"][0]["state"] == "running" && seen["items"][0]["matched"] == 200, "{seen}");
    interrupt(&follower)?;
    let ran = ended(follower)?;
    fails(&ran, 5, &["cancelled", "still dead letters"])?;
    let replay: Value = serde_json::from_str(&ran.stdout)?;
    let done = replay["done"].as_u64().context("done")?;
    ensure!(replay["state"] == "cancelled" && (5..200).contains(&done), "{replay}");
    ensure!(counts(&site.server).await? == (done, 200 - done), "{replay}");
    let listed = site.run(&["dead", "replays"])?;
    ensure!(listed.stdout.contains("cancelled") && listed.stdout.contains("200"), "{listed:?}");

    let rest = site.json(&["dead", "replay", "--queue", "work", "--rate", "2000"])?;
    ensure!(rest["state"] == "done" && rest["done"] == 200 - done, "{rest}");
    let again = site.run(&["dead", "replay", "--queue", "work", "--rate", "2000"])?;
    ensure!(again.code == 0 && again.stdout.starts_with("0 dead letters"), "{again:?}");
    let (replayed, deliveries) = lease(&site.server).await?;
    ensure!(replayed == published, "{} of 200 events came back", replayed.len());
    let (status, acked) =
        site.server.post("/v1/queues/work/ack", &json!({"delivery_ids": deliveries})).await?;
    ensure!(status == 200, "{acked}");
    ensure!(counts(&site.server).await? == (0, 0));
    ensure!(site.server.stop()?.success());
    Ok(())
}

/// A consumer is at work meanwhile, and its effects are counted.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_letters_go_back_at_their_rate_and_a_second_replay_changes_nothing() -> Result<()> {
    const COUNT: usize = 10_000;
    let site = Arc::new(Site::start()?);
    let published = bury(&site.server, COUNT).await?;
    let traces = |items: &Value| -> BTreeSet<String> {
        let items = items["items"].as_array().into_iter().flatten();
        items.filter_map(|item| item["trace_id"].as_str().map(str::to_owned)).collect()
    };
    let sample = traces(&site.server.get("/v1/dead?queue=work&limit=100").await?);
    ensure!(!sample.is_empty());

    let stop = Arc::new(AtomicBool::new(false));
    let consumer = {
        let (site, stop) = (Arc::clone(&site), Arc::clone(&stop));
        tokio::spawn(async move {
            let (mut effects, mut seen) = (BTreeMap::<String, usize>::new(), BTreeSet::new());
            loop {
                let last = stop.load(Ordering::SeqCst);
                let request = json!({"max": 1_000, "wait_ms": 100, "lease_ms": 60_000});
                let (status, leased) = site.server.post("/v1/queues/work/lease", &request).await?;
                ensure!(status == 200, "{status}: {leased}");
                let deliveries = leased["deliveries"].as_array().context("deliveries")?;
                if deliveries.is_empty() && last {
                    return Ok((effects, seen));
                }
                for delivery in deliveries {
                    let event = &delivery["event"];
                    *effects.entry(event["eventid"].as_str().context("an id")?.to_owned()).or_default() += 1;
                    let trace = event["traceparent"].as_str().and_then(|parent| parent.split('-').nth(1));
                    seen.insert(trace.context("a trace")?.to_owned());
                }
                let ids: Vec<&Value> = deliveries.iter().map(|delivery| &delivery["delivery_id"]).collect();
                if !ids.is_empty() {
                    let acked =
                        site.server.post("/v1/queues/work/ack", &json!({"delivery_ids": ids})).await?;
                    ensure!(acked.0 == 200, "{acked:?}");
                }
            }
        })
    };
    let begun = Instant::now();
    let follower = begin(&site, &["dead", "replay", "--queue", "work", "--rate", "500"])?;
    let running = |all: &Value| all["items"][0]["done"].as_u64() >= Some(1_000);
    let half = site.server.until("/v1/dead/replays", running).await?;
    ensure!(half["items"][0]["state"] == "running" && half["items"][0]["matched"] == COUNT, "{half}");
    let ran = tokio::task::spawn_blocking(move || ended(follower)).await??;
    let took = begun.elapsed();
    let replay: Value = serde_json::from_str(&ran.stdout)?;
    ensure!(ran.code == 0 && replay["state"] == "done" && replay["done"] == COUNT, "{ran:?}");
    // One second is allowed for what goes at once.
    ensure!(took >= Duration::from_secs(COUNT as u64 / 500 - 1), "faster than its rate: {took:?}");
    let again = site.run(&["dead", "replay", "--queue", "work", "--rate", "500"])?;
    ensure!(again.code == 0 && again.stdout.starts_with("0 dead letters"), "{again:?}");
    stop.store(true, Ordering::SeqCst);
    let (effects, seen): (BTreeMap<String, usize>, BTreeSet<String>) = consumer.await??;
    ensure!(effects.values().all(|times| *times == 1), "an event had its effect twice");
    ensure!(effects.into_keys().collect::<BTreeSet<_>>() == published, "each event has its effect");
    let plain = |trace: &String| trace.replace('-', "");
    ensure!(sample.iter().all(|trace| seen.contains(&plain(trace))), "the trace goes on");
    ensure!(counts(&site.server).await? == (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_replay_that_a_kill_interrupts_leaves_the_rest_dead() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let server = Server::start(&data, &Start::default())?;
    let published = bury(&server, 200).await?;
    let (status, begun) = server.post("/v1/dead/replay", &json!({"filter": {}, "rate": 40})).await?;
    ensure!(status == 202, "{status}: {begun}");
    let url = begun["status_url"].as_str().context("a URL")?.to_owned();
    server.until(&url, |replay| replay["done"].as_u64() >= Some(5)).await?;
    server.kill()?;

    let server = Server::start(&data, &Start::default())?;
    let (ready, dead) = counts(&server).await?;
    ensure!(ready >= 5 && dead > 0 && ready + dead == 200, "{ready} ready, {dead} dead");
    let (status, gone) = server.send(reqwest::Method::GET, &url, &Value::Null).await?;
    ensure!(status == 404, "{status}: {gone}");
    let (status, begun) = server.post("/v1/dead/replay", &json!({"filter": {}, "rate": 2_000})).await?;
    ensure!(status == 202 && begun["matched"] == dead, "{status}: {begun}");
    let url = begun["status_url"].as_str().context("a URL")?;
    let ended = server.until(url, |replay| replay["state"] != "running").await?;
    ensure!(ended["state"] == "done" && ended["done"] == dead, "{ended}");
    ensure!(lease(&server).await?.0 == published);
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_letter_is_mended_and_done() -> Result<()> {
    let site = Site::start()?;
    let published = bury(&site.server, 1).await?;
    let dead = site.json(&["dead", "list"])?;
    let id = dead["items"][0]["id"].as_str().context("an id")?;
    let before = site.json(&["dead", "show", id])?;
    let etag = before["etag"].as_str().context("an etag")?;
    let file = site.file("data.json", "{\"n\": 9007199254740993}\n")?;
    let edited = site.json(&["dead", "edit", id, "--file", &file, "--reason", "a digit was lost"])?;
    ensure!(edited["event_id"] == before["event_id"] && edited["etag"] != etag, "{edited}");
    let late = site.run(&["dead", "edit", id, "--file", &file, "--if-match", etag])?;
    fails(&late, 5, &["look at it again"])?;
    let wrong = site.file("wrong.json", "{\"n\": }")?;
    fails(&site.run(&["dead", "edit", id, "--file", &wrong])?, 7, &["not JSON"])?;
    fails(&site.run(&["dead", "edit", id])?, 2, &["--file"])?;

    let shown = site.run(&["dead", "show", id])?;
    ensure!(shown.stdout.contains("9007199254740993"), "{shown:?}");
    site.json(&["dead", "replay", id])?;
    let leased = site.run(&["-o", "json", "queue", "lease", "work"])?;
    let delivery: Value = serde_json::from_str(&leased.stdout)?;
    let delivery = &delivery["deliveries"][0];
    ensure!(published.contains(delivery["event"]["eventid"].as_str().context("an id")?), "{delivery}");
    ensure!(leased.stdout.contains("9007199254740993"), "{leased:?}");
    let ack = delivery["delivery_id"].as_str().context("a delivery")?;
    site.json(&["queue", "ack", "work", ack])?;
    let trace = site.run(&["trace", before["trace_id"].as_str().context("a trace")?])?;
    for word in ["edited", "a digit was lost", "replayed", "state done"] {
        ensure!(trace.stdout.contains(word), "{word}: {trace:?}");
    }
    ensure!(site.server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_letter_is_discarded_with_a_reason() -> Result<()> {
    let site = Site::start()?;
    bury(&site.server, 1).await?;
    let letter = site.json(&["dead", "list"])?["items"][0].clone();
    let discarded =
        site.json(&["dead", "discard", "--cause", "address", "--reason", "nobody lives there"])?;
    ensure!(discarded["count"] == 1, "{discarded}");
    let trace = site.run(&["trace", letter["trace_id"].as_str().context("a trace")?])?;
    ensure!(trace.stdout.contains("nobody lives there"), "{trace:?}");
    ensure!(counts(&site.server).await? == (0, 0));
    ensure!(site.server.stop()?.success());
    Ok(())
}
