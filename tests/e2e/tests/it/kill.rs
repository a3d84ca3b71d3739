//! `kill -9` at random moments: no acknowledged event is missing, and every
//! row is there once.

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
        let server = Server::start(&data, &Start::default()).with_context(|| format!("round {round}"))?;
        if round == 0 {
            let dataset = json!({"fields": [{"name": "n", "type": "integer"}]});
            let (status, answer) = server.send(Method::PUT, "/v1/datasets/kill", &dataset).await?;
            ensure!(status < 300, "{status}: {answer}");
            let (status, answer) = server
                .post("/v1/queues", &json!({"name": "work", "types": ["kill.work"], "key": "none"}))
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
        // tidy: sleep because the moment of the kill is what is drawn at random
        tokio::time::sleep(Duration::from_millis(random.below(250))).await;
        server.kill()?;
        for poster in posters {
            poster.await?;
        }
    }

    let server = Server::start(&data, &Start::default())?;
    server.until("/v1/queues/data", |queue| queue["ready"] == 0 && queue["in_flight"] == 0).await?;
    let taken =
        |known: &Mutex<BTreeSet<u64>>| std::mem::take(&mut *known.lock().expect("no poster panicked"));
    let (rows, events) = (taken(&acknowledged.rows), taken(&acknowledged.events));
    check_rows(&server, &rows).await?;
    check_events(&server, &events).await?;
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

async fn check_events(server: &Server, acknowledged: &BTreeSet<u64>) -> Result<()> {
    ensure!(acknowledged.len() > ROUNDS, "only {} events were acknowledged", acknowledged.len());
    let mut found = BTreeSet::new();
    let deadline = Instant::now() + orderwire_e2e::PATIENCE;
    loop {
        ensure!(Instant::now() < deadline, "the queue does not run empty");
        let (status, leased) =
            server.post("/v1/queues/work/lease", &json!({"max": 500, "lease_ms": 60_000})).await?;
        ensure!(status == 200, "{status}: {leased}");
        let deliveries = leased["deliveries"].as_array().context("deliveries are an array")?;
        if deliveries.is_empty() {
            break;
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
    let missing: Vec<_> = acknowledged.difference(&found).collect();
    ensure!(missing.is_empty(), "acknowledged events that are missing: {missing:?}");
    eprintln!("{} events acknowledged, {} there", acknowledged.len(), found.len());
    Ok(())
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
