//! `kill -9` at random moments, while producers post and consumers lease,
//! settle and return: no acknowledged event is missing, every row is there once,
//! and what was acked stays acked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::{Server, Start};
use reqwest::Method;
use serde_json::{Value, json};

const ROUNDS: usize = 50;

/// What the server acknowledged.
#[derive(Default)]
struct Acknowledged {
    rows: Mutex<BTreeSet<u64>>,
    events: Mutex<BTreeSet<u64>>,
    /// Events whose ack was answered.
    acked: Mutex<BTreeSet<u64>>,
    /// Events whose ack was sent; whether it was applied may be unknown.
    ack_sent: Mutex<BTreeSet<u64>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kill_9() -> Result<()> {
    let seed =
        std::env::var("SEED").ok().map_or_else(|| Ok(u64::from(std::process::id())), |seed| seed.parse())?;
    eprintln!("replay with SEED={seed}");
    let mut random = Random(seed | 1);
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let next = Arc::new(AtomicU64::new(0));
    let acknowledged = Arc::new(Acknowledged::default());

    for round in 0..ROUNDS {
        if round % 5 == 4 {
            Server::kill_while_starting(&data, Duration::from_millis(random.below(60)))?;
        }
        let server = Server::start(&data, &Start::default()).with_context(|| format!("round {round}"))?;
        if round == 0 {
            let dataset = json!({"fields": [{"name": "n", "type": "integer"}]});
            let (status, answer) = server.send(Method::PUT, "/v1/datasets/kill", &dataset).await?;
            ensure!(status < 300, "{status}: {answer}");
            let (status, answer) = server
                .post(
                    "/v1/queues",
                    &json!({"name": "work", "types": ["kill.work"], "key": "none", "attempts": 1000}),
                )
                .await?;
            ensure!(status < 300, "{status}: {answer}");
        }
        let posters: Vec<_> = (0..6)
            .map(|kind| {
                tokio::spawn(post_until_killed(
                    server.url.clone(),
                    server.http.clone(),
                    kind,
                    next.clone(),
                    acknowledged.clone(),
                ))
            })
            .collect();
        let consumer = consume_until_killed(server.url.clone(), server.http.clone(), acknowledged.clone());
        let consumer = tokio::spawn(consumer);
        // tidy: sleep because the moment of the kill is what is drawn at random
        tokio::time::sleep(Duration::from_millis(random.below(250))).await;
        server.kill()?;
        for poster in posters {
            poster.await?;
        }
        consumer.await?;
    }

    let server = Server::start(&data, &Start::default())?;
    server.until("/v1/queues/data", |queue| queue["ready"] == 0 && queue["in_flight"] == 0).await?;
    let taken =
        |known: &Mutex<BTreeSet<u64>>| std::mem::take(&mut *known.lock().expect("no poster panicked"));
    check_rows(&server, &taken(&acknowledged.rows)).await?;
    let (acked, ack_sent) = (taken(&acknowledged.acked), taken(&acknowledged.ack_sent));
    check_events(&server, &taken(&acknowledged.events), &acked, &ack_sent).await?;
    ensure!(server.stop()?.success());
    Ok(())
}

async fn post_until_killed(
    url: String,
    http: reqwest::Client,
    kind: u64,
    next: Arc<AtomicU64>,
    acknowledged: Arc<Acknowledged>,
) {
    loop {
        let count = if kind == 0 { 20 } else { 1 };
        let first = next.fetch_add(count, Ordering::Relaxed);
        let numbers: Vec<u64> = (first..first + count).collect();
        let request = if kind < 3 {
            let lines: Vec<String> = numbers.iter().map(|n| format!("{{\"n\":{n}}}\n")).collect();
            http.post(format!("{url}/v1/datasets/kill/rows"))
                .header("content-type", "application/x-ndjson")
                .body(lines.concat())
        } else {
            http.post(format!("{url}/v1/events/kill.work")).json(&json!({"n": first}))
        };
        match request.send().await {
            Ok(response) if response.status() == 202 => {
                let known = if kind < 3 { &acknowledged.rows } else { &acknowledged.events };
                known.lock().expect("no poster panicked").extend(numbers);
            }
            Ok(response) => panic!("a healthy server answered {}", response.status()),
            Err(_) => return,
        }
    }
}

async fn check_rows(server: &Server, acknowledged: &BTreeSet<u64>) -> Result<()> {
    ensure!(acknowledged.len() > ROUNDS, "only {} rows were acknowledged", acknowledged.len());
    let rows = server.get("/rest/kill?select=n,_event_id").await?;
    let mut times: BTreeMap<u64, u64> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for row in rows.as_array().context("rows are an array")? {
        *times.entry(row["n"].as_u64().context("n is a number")?).or_default() += 1;
        ensure!(ids.insert(row["_event_id"].to_string()), "two rows of one id: {row}");
    }
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    ensure!(twice.is_empty(), "rows that are there more than once: {twice:?}");
    let missing: Vec<_> = acknowledged.iter().filter(|n| !times.contains_key(n)).collect();
    ensure!(missing.is_empty(), "acknowledged rows that are missing: {missing:?}");
    eprintln!("{} rows acknowledged, {} there", acknowledged.len(), times.len());
    Ok(())
}

async fn check_events(
    server: &Server,
    acknowledged: &BTreeSet<u64>,
    acked: &BTreeSet<u64>,
    ack_sent: &BTreeSet<u64>,
) -> Result<()> {
    ensure!(acknowledged.len() > ROUNDS, "only {} events were acknowledged", acknowledged.len());
    ensure!(acked.len() > 10, "only {} events were acked", acked.len());
    let mut found = BTreeSet::new();
    let deadline = Instant::now() + orderwire_e2e::PATIENCE;
    loop {
        ensure!(Instant::now() < deadline, "the queue does not run empty");
        let (status, leased) = server
            .post("/v1/queues/work/lease", &json!({"max": 500, "lease_ms": 60_000, "wait_ms": 200}))
            .await?;
        ensure!(status == 200, "{status}: {leased}");
        let deliveries = leased["deliveries"].as_array().context("deliveries are an array")?;
        if deliveries.is_empty() {
            let queue = server.get("/v1/queues/work").await?;
            // Leases of consumers that were killed run out by themselves.
            if queue["ready"] == 0 && queue["in_flight"] == 0 && queue["delayed"] == 0 {
                ensure!(queue["dead"] == 0, "{queue}");
                break;
            }
            continue;
        }
        let mut ids: Vec<&Value> = Vec::new();
        for delivery in deliveries {
            let n = delivery["event"]["data"]["n"].as_u64().context("n is a number")?;
            ensure!(found.insert(n), "event {n} was delivered twice without a failure");
            ids.push(&delivery["delivery_id"]);
        }
        let (status, answer) = server.post("/v1/queues/work/ack", &json!({"delivery_ids": ids})).await?;
        ensure!(status == 200, "{status}: {answer}");
    }
    let again: Vec<_> = found.intersection(acked).collect();
    ensure!(again.is_empty(), "events that were acked and came again: {again:?}");
    let missing: Vec<_> =
        acknowledged.iter().filter(|n| !found.contains(n) && !ack_sent.contains(n)).collect();
    ensure!(missing.is_empty(), "acknowledged events that are missing: {missing:?}");
    eprintln!("{} events acknowledged, {} acked, {} there", acknowledged.len(), acked.len(), found.len());
    Ok(())
}

/// Leases a few deliveries at a time; acks most, gives some back, and leaves
/// the rest to their leases.
async fn consume_until_killed(url: String, http: reqwest::Client, acknowledged: Arc<Acknowledged>) {
    let post =
        |action: &str, body: Value| http.post(format!("{url}/v1/queues/work/{action}")).json(&body).send();
    loop {
        let request = json!({"max": 5, "lease_ms": 1_000, "wait_ms": 1_000});
        let Ok(answer) = post("lease", request).await else { return };
        let Ok(leased) = answer.json::<Value>().await else { return };
        for delivery in leased["deliveries"].as_array().into_iter().flatten() {
            let n = delivery["event"]["data"]["n"].as_u64().expect("n is a number");
            let body = json!({"delivery_ids": [delivery["delivery_id"]]});
            if n.is_multiple_of(7) {
                continue;
            }
            if n.is_multiple_of(5) {
                let mut body = body;
                body["delay_ms"] = json!(0);
                if post("nack", body).await.is_err() {
                    return;
                }
                continue;
            }
            acknowledged.ack_sent.lock().expect("nobody panicked").insert(n);
            match post("ack", body).await {
                Ok(answer) if answer.status() == 200 => {
                    acknowledged.acked.lock().expect("nobody panicked").insert(n);
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

/// Numbers for choosing moments (xorshift64): any spread will do, and a seed replays it.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
