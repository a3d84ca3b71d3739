//! A broker between producers and the queues: other people's code before and behind it,
//! and a broker that goes away.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use orderwire_e2e::rabbit::Rabbit;
use orderwire_e2e::{Server, Start};
use serde_json::{Value, json};

use crate::under_load::{nothing_is_lost_or_doubled, under_load, until_more_come};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");

/// A server behind this broker, with a task queue `shop` beside those that exist anyway.
pub(crate) fn behind(broker: &str, folder: &Path, more: &str) -> Result<Server> {
    behind_of(&Start::default(), broker, folder, more)
}

/// The same started otherwise.
pub(crate) fn behind_of(start: &Start, broker: &str, folder: &Path, more: &str) -> Result<Server> {
    let config = folder.join("orderwire.yaml");
    let text = format!("queues:\n  shop: {{types: ['shop.#']}}\n{more}");
    std::fs::write(&config, text)?;
    let mut start = start.clone();
    start.flags.extend(["--config".to_owned(), config.to_string_lossy().into_owned()]);
    start.env.push(("ORDERWIRE__BROKER__URL".to_owned(), broker.to_owned()));
    Server::start(&folder.join("data"), &start)
}

/// Python with what `requirements.txt` names.
pub(crate) fn python() -> Result<Command> {
    let python = std::env::var_os("ORDERWIRE_PYTHON");
    Ok(Command::new(python.context("ORDERWIRE_PYTHON is not set: run the tests with `cargo xtask test`")?))
}

pub(crate) fn event(n: usize) -> Value {
    json!({"specversion": "1.0", "id": n.to_string(), "source": "/shop", "type": "shop.sold",
           "client": "acme", "partitionkey": "till", "data": {"n": n}})
}

/// Leases and acks until all these events came: in which order, and how often each did.
pub(crate) async fn consume(
    server: &Server,
    wanted: impl IntoIterator<Item = u64>,
) -> Result<(Vec<u64>, BTreeMap<u64, usize>)> {
    let mut missing: BTreeSet<u64> = wanted.into_iter().collect();
    let (mut order, mut seen) = (Vec::new(), BTreeMap::new());
    let deadline = Instant::now() + 3 * orderwire_e2e::PATIENCE;
    while !missing.is_empty() {
        let (status, leased) =
            server.post("/v1/queues/shop/lease", &json!({"max": 100, "wait_ms": 20_000})).await?;
        ensure!(status == 200, "{leased}");
        let deliveries = leased["deliveries"].as_array().context("deliveries")?;
        if deliveries.is_empty() {
            ensure!(Instant::now() < deadline, "{} never came: {:?}", missing.len(), missing.first());
            continue;
        }
        let mut ids = Vec::new();
        for delivery in deliveries {
            let n = delivery["event"]["data"]["n"].as_u64().context("a number")?;
            order.push(n);
            missing.remove(&n);
            *seen.entry(n).or_insert(0) += 1;
            ids.push(delivery["delivery_id"].clone());
        }
        let (status, acked) = server.post("/v1/queues/shop/ack", &json!({"delivery_ids": ids})).await?;
        ensure!(status == 200, "{acked}");
    }
    Ok((order, seen))
}

#[tokio::test]
async fn what_is_published_comes_through_the_broker_once_and_in_order() -> Result<()> {
    let (rabbit, folder) = (Rabbit::started()?, tempfile::tempdir()?);
    let server = behind(&rabbit.url(), folder.path(), "")?;
    for n in 0..50 {
        let (status, answer) = server.post("/v1/events", &event(n)).await?;
        ensure!(status == 202 && answer["queues"] == json!(["shop"]), "{status}: {answer}");
        // A producer that repeats itself is noticed behind the broker, too.
        let (status, again) = server.post("/v1/events", &event(n)).await?;
        ensure!(status == 202 && again["event_id"] == answer["event_id"], "{status}: {again}");
    }
    let (order, seen) = consume(&server, 0..50).await?;
    ensure!(order == (0..50).collect::<Vec<u64>>(), "{order:?}");
    ensure!(seen.values().all(|times| *times == 1), "{seen:?}");

    // The same key with another body is refused, as without a broker.
    let post = |body: Value| {
        let url = format!("{}/v1/events", server.url);
        server.http.post(url).header("idempotency-key", "k").json(&body).send()
    };
    ensure!(post(event(100)).await?.status() == 202);
    ensure!(post(event(101)).await?.status() == 409);
    ensure!(post(event(100)).await?.status() == 202);
    let status = server.stop()?;
    ensure!(status.success(), "{status}");
    Ok(())
}

#[tokio::test]
async fn plain_amqp_code_orders_a_product_and_hears_of_the_client() -> Result<()> {
    let (rabbit, folder) = (Rabbit::started()?, tempfile::tempdir()?);
    let native = "  clients: {native: true, format: flat}\n";
    let server = behind(&rabbit.url(), folder.path(), native)?;
    let mut consumer = python()?
        .arg(format!("{EXAMPLES}/consumers/consume_amqp.py"))
        .env("AMQP_URL", rabbit.url())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = python()?
        .arg(format!("{EXAMPLES}/producers/order_amqp.py"))
        .args(["--product", "sensor", "--client", "acme"])
        .env("AMQP_URL", rabbit.url())
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let trace = String::from_utf8(output.stdout)?.trim().to_owned();
    let orders = server
        .until(&format!("/v1/orders?trace_id={trace}"), |orders| orders["items"][0]["state"] == "ready")
        .await?;
    ensure!(orders["items"][0]["product"] == "sensor" && orders["items"][0]["client"] == "acme", "{orders}");

    let said = consumer.stdout.take().context("stdout is piped")?;
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line).map(|_| line)
    });
    let line = tokio::time::timeout(orderwire_e2e::PATIENCE, line).await???;
    ensure!(line.trim() == format!("{trace} acme"), "{line}");
    Command::new("kill").args(["-TERM", &consumer.id().to_string()]).status()?;
    ensure!(consumer.wait()?.success());
    // The recorder had it as well.
    server.until("/v1/clients/acme", |client| client["client"] == "acme").await?;
    Ok(())
}

#[tokio::test]
async fn what_is_no_event_or_not_allowed_is_a_dead_letter_at_once() -> Result<()> {
    let (rabbit, folder) = (Rabbit::started()?, tempfile::tempdir()?);
    let more = "  till: {types: ['till.#'], type: till.sold, principal: {clients: [acme]}}\n";
    let server = behind(&rabbit.url(), folder.path(), more)?;
    let script = r#"
import os, pika
connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()
put = lambda body: channel.basic_publish("", "till", body, pika.BasicProperties(delivery_mode=2))
for n in range(1000):
    put(b"\xff garbage %d" % n)
put(b'{"client": "evil", "trace_id": "9a2ae9de-3f82-4f55-966b-47df50ff51ff"}')
put(b'{"client": "acme", "n": 9007199254740993}')
connection.close()
"#;
    server.until("/readyz", |ready| ready["status"] == "ready").await?;
    // The queue is made by its intake.
    let deadline = tokio::time::Instant::now() + orderwire_e2e::PATIENCE;
    while rabbit
        .control(&[
            "eval",
            "rabbit_amqqueue:exists(rabbit_misc:r(<<\"/\">>, queue, <<\"till\">>)) orelse error(no).",
        ])
        .is_err()
    {
        ensure!(tokio::time::Instant::now() < deadline, "the queue till was never made");
    }
    let output = python()?.args(["-c", script]).env("AMQP_URL", rabbit.url()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let queue = server.until("/v1/queues/till", |queue| queue["dead"] == 1001 && queue["ready"] == 1).await?;
    ensure!(queue["in_flight"] == 0, "{queue}");
    let foreign = server.get("/v1/dead?queue=till&cause=evil").await?;
    let letter = &foreign["items"][0];
    ensure!(letter["cause"].as_str().is_some_and(|cause| cause.contains("outside the scope")), "{foreign}");
    ensure!(letter["client"] != "evil" && letter["attempts"] == 1, "{foreign}");
    let garbage = server.get("/v1/dead?queue=till&cause=UTF-8&limit=1").await?;
    ensure!(garbage["items"][0]["attempts"] == 1, "{garbage}");
    let (_, leased) = server.post("/v1/queues/till/lease", &json!({"max": 10, "wait_ms": 20_000})).await?;
    let event = &leased["deliveries"][0]["event"];
    ensure!(event["type"] == "till.sold" && event["client"] == "acme", "{leased}");
    ensure!(event["data"]["n"].as_u64() == Some(9_007_199_254_740_993), "{leased}");
    Ok(())
}

#[tokio::test]
async fn a_broker_that_is_away_is_waited_for_and_nothing_is_lost() -> Result<()> {
    let (mut rabbit, folder) = (Rabbit::new()?, tempfile::tempdir()?);
    let server = behind(&rabbit.url(), folder.path(), "")?;
    for n in 0..30 {
        let (status, answer) = server.post("/v1/events", &event(n)).await?;
        ensure!(status == 202, "{status}: {answer}");
    }
    let ready = server.get("/readyz").await?;
    let of_broker = |ready: &Value| {
        let all = ready["components"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|component| component["name"] == "broker").unwrap_or_default()
    };
    // The first event of a client brings its announcement along.
    let detail = of_broker(&ready)["detail"].to_string();
    ensure!(ready["status"] == "ready" && detail.contains("31 events wait"), "{ready}");
    until_spooled(&server, "31").await?;
    // A full spool and the end of the gateway: what was acknowledged is still there.
    server.kill()?;
    let server = behind(&rabbit.url(), folder.path(), "")?;
    for n in 30..40 {
        let (status, answer) = server.post("/v1/events", &event(n)).await?;
        ensure!(status == 202, "{status}: {answer}");
    }
    rabbit.start()?;
    let (order, seen) = consume(&server, 0..40).await?;
    ensure!(order == (0..40).collect::<Vec<u64>>(), "{order:?}");
    ensure!(seen.values().all(|times| *times == 1), "{seen:?}");
    server.until("/readyz", |ready| of_broker(ready)["detail"].is_null()).await?;
    until_spooled(&server, "0").await
}

/// Returns when so many events wait in the spool, as the metric says.
async fn until_spooled(server: &Server, wanted: &str) -> Result<()> {
    let deadline = Instant::now() + orderwire_e2e::PATIENCE;
    loop {
        let metrics = server.http.get(format!("{}/metrics", server.url)).send().await?.text().await?;
        let value = metrics.lines().find_map(|line| line.strip_prefix("orderwire_spool_events "));
        if value == Some(wanted) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{value:?} instead of {wanted}: {metrics}");
    }
}

#[tokio::test]
async fn without_a_spool_or_with_a_full_one_events_are_refused_while_the_broker_is_away() -> Result<()> {
    let rabbit = Rabbit::new()?;
    // The first event of a client brings its announcement along.
    for (events, taken) in [(0, 0), (3, 2)] {
        let folder = tempfile::tempdir()?;
        let server =
            behind(&rabbit.url(), folder.path(), &format!("broker: {{spool: {{events: {events}}}}}\n"))?;
        for n in 0..5 {
            let response =
                server.http.post(format!("{}/v1/events", server.url)).json(&event(n)).send().await?;
            let status = response.status();
            let refused = n >= taken;
            ensure!(status == if refused { 503 } else { 202 }, "event {n} of a spool of {events}: {status}");
            ensure!(!refused || response.headers().contains_key("retry-after"));
        }
    }
    Ok(())
}

/// 500 events a second, 20 restarts of the broker under them: of its application, and of
/// its process by SIGKILL.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_restarts_of_the_broker_lose_nothing_and_double_nothing() -> Result<()> {
    let (mut rabbit, folder) = (Rabbit::started()?, tempfile::tempdir()?);
    let server = Arc::new(behind(&rabbit.url(), folder.path(), "")?);
    let acknowledged = under_load(&server, || {
        for round in 0..20 {
            until_more_come(&server, 200)?;
            if round % 5 == 0 {
                rabbit.kill()?;
                rabbit.start()?;
            } else {
                rabbit.control(&["stop_app"])?;
                rabbit.control(&["start_app"])?;
            }
        }
        Ok(())
    });
    let acknowledged = acknowledged.await?;
    nothing_is_lost_or_doubled(&server, &acknowledged, || rabbit.messages("shop")).await
}
