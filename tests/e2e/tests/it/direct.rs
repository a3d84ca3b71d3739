//! Rows behind a broker: recorded without a stop in the queue, each once, whatever is killed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, bail, ensure};
use orderwire_e2e::kafka::{self, Kafka};
use orderwire_e2e::nats::Nats;
use orderwire_e2e::rabbit::Rabbit;
use orderwire_e2e::{PATIENCE, Server, Start};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::broker::{behind, behind_of, python};

/// Stands in every row: where it is found, a row was.
const MARK: &str = "orchid-4711";

/// What is needed of a broker.
trait Place {
    fn url(&self) -> String;
    /// The binary that knows it, where that is another one.
    fn binary(&self) -> Result<Option<PathBuf>> {
        Ok(None)
    }
    /// Ends it with SIGKILL, and starts it on what it holds.
    fn restart(&mut self) -> Result<()>;
    /// How many messages wait for the stream `data`, with those that are not acked. None: it
    /// does not tell.
    fn waiting(&self) -> Result<Option<u64>>;
    /// Sends a message to the stream `data`, as other people's producers do.
    fn send(&self, body: &str) -> Result<()>;
}

impl Place for Rabbit {
    fn url(&self) -> String {
        Self::url(self)
    }

    fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.start()
    }

    fn waiting(&self) -> Result<Option<u64>> {
        self.messages("data").map(Some)
    }

    fn send(&self, body: &str) -> Result<()> {
        let script = "import os, sys, pika\n\
            connection = pika.BlockingConnection(pika.URLParameters(os.environ['AMQP_URL']))\n\
            channel = connection.channel()\nchannel.confirm_delivery()\n\
            channel.basic_publish('', 'data', sys.argv[1], pika.BasicProperties(delivery_mode=2))\n\
            connection.close()\n";
        let output = python()?.args(["-c", script, body]).env("AMQP_URL", Self::url(self)).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

impl Place for Nats {
    fn url(&self) -> String {
        Self::url(self)
    }

    fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.start()
    }

    fn waiting(&self) -> Result<Option<u64>> {
        // Before 2.10 what is sent by name has a consumer of its own.
        Ok(Some(self.unacked("data")? + self.unacked("data+named").unwrap_or_default()))
    }

    fn send(&self, body: &str) -> Result<()> {
        self.publish("orderwire.queue.data", body)
    }
}

/// It keeps everything in memory, and there is no producer for it here: what kills it or
/// sends to it is not for it.
impl Place for Kafka {
    fn url(&self) -> String {
        Self::url(self)
    }

    fn binary(&self) -> Result<Option<PathBuf>> {
        kafka::binary().map(Some)
    }

    fn restart(&mut self) -> Result<()> {
        bail!("it would hold nothing any more")
    }

    fn waiting(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    fn send(&self, _body: &str) -> Result<()> {
        bail!("no producer is here")
    }
}

macro_rules! cases {
    ($($case:ident)+; everywhere: $($everywhere:ident)+) => {
        mod behind_kafka { $(#[tokio::test(flavor = "multi_thread")] async fn $everywhere() -> anyhow::Result<()> {
            super::$everywhere(super::Kafka::started()?).await
        })+ }
        cases! { $($case)+ $($everywhere)+ }
    };
    ($($case:ident)+) => {
        mod behind_nats { $(#[tokio::test(flavor = "multi_thread")] async fn $case() -> anyhow::Result<()> {
            super::$case(super::Nats::started()?).await
        })+ }
        mod behind_rabbitmq { $(#[tokio::test(flavor = "multi_thread")] async fn $case() -> anyhow::Result<()> {
            super::$case(super::Rabbit::started()?).await
        })+ }
    };
}

cases! {
    rows_are_recorded_once_whatever_is_killed
    what_others_send_is_recorded_once_where_it_is_named;
    everywhere:
    a_faulty_event_is_a_dead_letter_and_replayed_once
    what_waited_in_the_queue_before_the_broker_goes_first
}

fn start(place: &impl Place, folder: &Path) -> Result<Server> {
    behind_of(&Start { binary: place.binary()?, ..Start::default() }, &place.url(), folder, "")
}

async fn define(server: &Server, name: &str) -> Result<()> {
    let def = json!({"fields": [{"name": "n", "type": "integer", "required": true}, {"name": "mark", "type": "text"}]});
    let (status, answer) = server.send(Method::PUT, &format!("/v1/datasets/{name}"), &def).await?;
    ensure!(status < 300, "{status}: {answer}");
    Ok(())
}

fn row(n: u64) -> Value {
    json!({"n": n, "mark": MARK})
}

/// Posts a row by a request that is named by its number.
async fn post(server: &Server, dataset: &str, n: u64) -> Result<Value> {
    let url = format!("{}/v1/datasets/{dataset}/rows", server.url);
    let request = server.http.post(url).header("idempotency-key", n.to_string()).json(&json!([row(n)]));
    let response = request.send().await?;
    let (status, answer) = (response.status(), response.text().await?);
    let answer: Value = serde_json::from_str(&answer)?;
    ensure!(status == 202 && answer["accepted"] == 1, "{status}: {answer}");
    Ok(answer)
}

/// The numbers of a dataset in the order in which they were recorded.
async fn numbers(server: &Server, dataset: &str) -> Result<Vec<u64>> {
    let rows = server.get(&format!("/rest/{dataset}?select=n&order=_seq.asc")).await?;
    rows.as_array().context("rows")?.iter().map(|row| row["n"].as_u64().context("a number")).collect()
}

/// Returns when so many rows are there, and nothing waits at the broker any more.
async fn settled(server: &Server, place: &impl Place, dataset: &str, count: usize) -> Result<Vec<u64>> {
    let there = |rows: &Value| rows.as_array().is_some_and(|rows| rows.len() >= count);
    server.until(&format!("/rest/{dataset}?select=n"), there).await?;
    nothing_waits(place).await?;
    numbers(server, dataset).await
}

async fn nothing_waits(place: &impl Place) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while let Some(waiting @ 1..) = place.waiting()? {
        ensure!(Instant::now() < deadline, "{waiting} messages are left at the broker");
    }
    Ok(())
}

async fn pause(server: &Server, how: &str) -> Result<()> {
    let (status, answer) = server.post(&format!("/v1/queues/data/{how}"), &json!({})).await?;
    ensure!(status < 300, "{status}: {answer}");
    Ok(())
}

/// No row was ever in the file of the queues: what is deleted there stays in its pages.
fn queue_holds_no_row(folder: &Path) -> Result<()> {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder.join("data"))? {
        let file = entry?.path();
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if !name.starts_with("queue.db") && !name.starts_with("store.db") {
            continue;
        }
        let holds = std::fs::read(&file)?.windows(MARK.len()).any(|bytes| bytes == MARK.as_bytes());
        ensure!(!holds || name.starts_with("store.db"), "{name} held a row");
        seen += usize::from(holds);
    }
    ensure!(seen > 0, "a row in no file of the store");
    Ok(())
}

/// Posts rows until it is told to stop: those that were accepted. What the server was killed
/// over may be there or not.
async fn post_rows(
    url: String,
    http: reqwest::Client,
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> BTreeSet<u64> {
    let mut accepted = BTreeSet::new();
    while !stop.load(Ordering::SeqCst) {
        let n = next.fetch_add(1, Ordering::SeqCst);
        let answer = http.post(format!("{url}/v1/datasets/d/rows")).json(&json!([row(n)])).send().await;
        match answer {
            Ok(answer) if answer.status() == 202 => drop(accepted.insert(n)),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    accepted
}

async fn rows_are_recorded_once_whatever_is_killed(mut place: impl Place) -> Result<()> {
    const ROUNDS: usize = 9;
    let folder = tempfile::tempdir()?;
    let next = Arc::new(AtomicU64::new(0));
    let mut accepted = BTreeSet::new();
    for round in 0..ROUNDS {
        let server = start(&place, folder.path())?;
        if round == 0 {
            define(&server, "d").await?;
        }
        let before = numbers(&server, "d").await?.len();
        let stop = Arc::new(AtomicBool::new(false));
        let posters: Vec<_> = (0..16)
            .map(|_| post_rows(server.url.clone(), server.http.clone(), next.clone(), stop.clone()))
            .map(tokio::spawn)
            .collect();
        // In the middle of the load.
        let more = |rows: &Value| rows.as_array().is_some_and(|rows| rows.len() > before + 200);
        server.until("/rest/d?select=n", more).await?;
        if round % 3 == 2 {
            tokio::task::block_in_place(|| place.restart())?;
            let then = numbers(&server, "d").await?.len();
            let more = |rows: &Value| rows.as_array().is_some_and(|rows| rows.len() > then + 100);
            server.until("/rest/d?select=n", more).await?;
        }
        server.kill()?;
        stop.store(true, Ordering::SeqCst);
        for poster in posters {
            accepted.extend(poster.await?);
        }
    }
    let server = start(&place, folder.path())?;
    server.until("/readyz", |ready| !ready["components"].to_string().contains("spool")).await?;
    let found = settled(&server, &place, "d", accepted.len()).await?;
    let once: BTreeSet<u64> = found.iter().copied().collect();
    ensure!(once.len() == found.len(), "{} rows are there as {}", once.len(), found.len());
    let missing: Vec<_> = accepted.difference(&once).take(10).collect();
    ensure!(missing.is_empty(), "of {} accepted rows some are missing: {missing:?}", accepted.len());
    let queue = server.get("/v1/queues/data").await?;
    ensure!(queue["ready"] == 0 && queue["dead"] == 0, "{queue}");
    ensure!(server.stop()?.success());
    queue_holds_no_row(folder.path())
}

async fn a_faulty_event_is_a_dead_letter_and_replayed_once(place: impl Place) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = start(&place, folder.path())?;
    define(&server, "d").await?;
    define(&server, "e").await?;
    let first = post(&server, "d", 0).await?;
    settled(&server, &place, "d", 1).await?;

    // A paused stream consumes nothing.
    pause(&server, "pause").await?;
    for n in 1..=20 {
        post(&server, if n == 7 { "e" } else { "d" }, n).await?;
    }
    let queue = server.get("/v1/queues/data").await?;
    ensure!(queue["paused"] == true && queue["ready"] == 0, "{queue}");
    ensure!(numbers(&server, "d").await? == [0], "recorded while the stream is paused");
    let deadline = Instant::now() + PATIENCE;
    while let Some(waiting) = place.waiting()?.filter(|waiting| *waiting != 20) {
        ensure!(Instant::now() < deadline, "{waiting} of 20 messages wait at the broker");
    }
    // What was right when it was accepted can never be recorded now.
    let (status, answer) = server.send(Method::DELETE, "/v1/datasets/e", &Value::Null).await?;
    ensure!(status < 300, "{status}: {answer}");
    pause(&server, "resume").await?;
    let found = settled(&server, &place, "d", 20).await?;
    ensure!(found == (0..=20).filter(|n| *n != 7).collect::<Vec<u64>>(), "{found:?}");
    // Not every broker tells what waits there.
    let one = |dead: &Value| dead["items"].as_array().is_some_and(|items| items.len() == 1);
    let dead = server.until("/v1/dead?queue=data", one).await?;
    let letter = &dead["items"][0];
    ensure!(letter["cause"].as_str().is_some_and(|cause| cause.contains("no dataset e")), "{dead}");
    nothing_waits_in_the_queue(&server).await?;

    // Strict reads and traces are as ever.
    let trace = format!("/v1/traces/{}", first["trace_id"].as_str().context("a trace")?);
    let trace = server.until(&trace, |trace| trace["state"] == "done").await?;
    let of_rows = |step: &&Value| step["event_id"] == first["event_id"];
    let steps = trace["steps"].as_array().context("steps")?.iter().filter(of_rows);
    let steps: Vec<&str> = steps.filter_map(|step| step["step"].as_str()).collect();
    ensure!(steps == ["accepted", "queued", "recorded"], "{trace}");

    // A letter that is replayed is recorded once, also when it comes by the broker again.
    define(&server, "e").await?;
    for replayed in [1, 0] {
        let (status, answer) = server.post("/v1/dead/replay", &json!({"filter": {"queue": "data"}})).await?;
        ensure!(status < 300 && answer["count"] == replayed, "{status}: {answer}");
        server.until("/v1/queues/data", |queue| queue["ready"] == 0 && queue["dead"] == 0).await?;
        let found = settled(&server, &place, "e", 1).await?;
        ensure!(found == [7], "{found:?}");
        post(&server, "e", 7).await?;
        post(&server, "d", 21 + replayed).await?;
    }
    settled(&server, &place, "d", 22).await?;
    ensure!(numbers(&server, "e").await? == [7], "what was replayed came by the broker again");
    ensure!(server.stop()?.success());
    Ok(())
}

/// What the queue says of the stream.
async fn nothing_waits_in_the_queue(server: &Server) -> Result<()> {
    let peeked = server.get("/v1/queues/data/peek").await?;
    let queue = server.get("/v1/queues/data").await?;
    ensure!(queue["ready"] == 0 && queue["oldest_age_ms"] == 0, "{queue}");
    ensure!(!peeked.to_string().contains(MARK), "{peeked}");
    Ok(())
}

async fn what_others_send_is_recorded_once_where_it_is_named(place: impl Place) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = start(&place, folder.path())?;
    define(&server, "d").await?;
    post(&server, "d", 0).await?;
    settled(&server, &place, "d", 1).await?;
    let event = |id: &str, n: Value| {
        json!({"specversion": "1.0", "id": id, "source": "/meter", "type": "orderwire.rows.d", "client": "acme",
               "data": [{"n": n, "mark": MARK}]})
        .to_string()
    };
    for body in [event("1", json!(1)), "garbage".to_owned(), event("2", json!("two")), event("1", json!(1))] {
        place.send(&body)?;
    }
    place.send(&event("3", json!(3)))?;
    let found = settled(&server, &place, "d", 3).await?;
    ensure!(found == [0, 1, 3], "{found:?}");
    let queue = server.until("/v1/queues/data", |queue| queue["dead"] == 2).await?;
    ensure!(queue["ready"] == 0, "{queue}");
    // Who sends rows announces itself.
    server.until("/v1/clients/acme", |client| client["client"] == "acme").await?;
    // Again after a restart.
    ensure!(server.stop()?.success());
    let server = start(&place, folder.path())?;
    place.send(&event("1", json!(1)))?;
    place.send(&event("4", json!(4)))?;
    let found = settled(&server, &place, "d", 4).await?;
    ensure!(found == [0, 1, 3, 4], "{found:?}");
    ensure!(server.stop()?.success());
    Ok(())
}

async fn what_waited_in_the_queue_before_the_broker_goes_first(place: impl Place) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = behind("none", folder.path(), "")?;
    define(&server, "d").await?;
    pause(&server, "pause").await?;
    for n in 0..10 {
        post(&server, "d", n).await?;
    }
    server.kill()?;
    let server = start(&place, folder.path())?;
    for n in 10..20 {
        post(&server, "d", n).await?;
    }
    let queue = server.get("/v1/queues/data").await?;
    ensure!(queue["ready"] == 10 && queue["paused"] == true, "{queue}");
    pause(&server, "resume").await?;
    let found = settled(&server, &place, "d", 20).await?;
    ensure!(found == (0..20).collect::<Vec<u64>>(), "{found:?}");
    ensure!(server.stop()?.success());
    Ok(())
}
