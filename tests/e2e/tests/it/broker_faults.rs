//! What goes wrong between the gateway and a broker, by the real binary and a real RabbitMQ: a
//! bad wire, a broker that refuses, queues that are not as they should be, servers that share it.
//! In all of it, what was answered with 202 comes, and comes once.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::proxy::{Proxy, Wire};
use orderwire_e2e::rabbit::Rabbit;
use orderwire_e2e::{PATIENCE, Server, Start, run};
use serde_json::{Value, json};

use crate::broker::{behind, consume, event, python};

/// What `/readyz` says of the broker.
pub(crate) fn of_broker(ready: &Value) -> String {
    let all = ready["components"].as_array().cloned().unwrap_or_default();
    let broker = all.into_iter().find(|component| component["name"] == "broker");
    broker.and_then(|broker| broker["detail"].as_str().map(str::to_owned)).unwrap_or_default()
}

/// Posts these events beside each other; those that were taken.
async fn post(server: &Server, events: impl IntoIterator<Item = usize>) -> Result<BTreeSet<u64>> {
    let calls = events.into_iter().map(|n| async move { (n, server.post("/v1/events", &event(n)).await) });
    let mut taken = BTreeSet::new();
    for (n, answer) in futures::future::join_all(calls).await {
        let (status, body) = answer?;
        ensure!(status == 202 || status == 503, "event {n}: {status}: {body}");
        if status == 202 {
            taken.insert(n as u64);
        }
    }
    Ok(taken)
}

/// All of these come, each once, and then nothing more.
pub(crate) async fn each_once(server: &Server, wanted: BTreeSet<u64>) -> Result<()> {
    let count = wanted.len();
    let (_, seen) = consume(server, wanted.iter().copied()).await?;
    server.until("/readyz", |ready| of_broker(ready).is_empty()).await?;
    let doubled: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    ensure!(doubled.is_empty() && seen.len() == count, "{doubled:?} of {} of {count}", seen.len());
    let queue = server.get("/v1/queues/shop").await?;
    ensure!(queue["ready"] == 0 && queue["in_flight"] == 0 && queue["dead"] == 0, "{queue}");
    Ok(())
}

/// Publishes over a wire that is slow, cut and silent in turn; what was taken.
pub(crate) async fn over_a_bad_wire(server: &Server, proxy: &Proxy) -> Result<BTreeSet<u64>> {
    server.until("/readyz", |ready| of_broker(ready).is_empty()).await?;
    let mut taken = post(server, 0..20).await?;
    for (round, wire) in
        [Wire::Slow(Duration::from_millis(200)), Wire::Cut, Wire::Silent, Wire::Cut].into_iter().enumerate()
    {
        // Some are on their way when it happens.
        let first = 100 * (round + 1);
        let (under_way, ()) = tokio::join!(post(server, first..first + 20), async { proxy.make(wire) });
        taken.extend(under_way?);
        taken.extend(post(server, first + 20..first + 40).await?);
        proxy.make(Wire::Good);
        taken.extend(post(server, first + 40..first + 60).await?);
        server.until("/readyz", |ready| of_broker(ready).is_empty()).await?;
    }
    ensure!(taken.len() == 20 + 4 * 60, "the spool has room for all, and only {} were taken", taken.len());
    Ok(taken)
}

/// Runs Python against the broker.
fn amqp(rabbit: &Rabbit, script: &str) -> Result<()> {
    let connect = "import os, pika\nconnection = pika.BlockingConnection(pika.URLParameters(os.environ['AMQP_URL']))\n\
                   channel = connection.channel()\n";
    let script = format!("{connect}{script}\nconnection.close()\n");
    let output = python()?.args(["-c", &script]).env("AMQP_URL", rabbit.url()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wire_that_is_slow_cut_or_silent_loses_and_doubles_nothing() -> Result<()> {
    let (rabbit, folder) = (Rabbit::started()?, tempfile::tempdir()?);
    let proxy = Proxy::to(rabbit.port()).await?;
    let url = format!("amqp://guest:guest@127.0.0.1:{}/%2f", proxy.port());
    let server = behind(&url, folder.path(), "")?;
    let taken = over_a_bad_wire(&server, &proxy).await?;
    each_once(&server, taken).await?;
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_broker_out_of_memory_is_as_good_as_away() -> Result<()> {
    let (rabbit, folder) = (Rabbit::started()?, tempfile::tempdir()?);
    let server = behind(&rabbit.url(), folder.path(), "")?;
    let mut taken = post(&server, 0..10).await?;
    rabbit.control(&["set_vm_memory_high_watermark", "absolute", "1"])?;
    // It tells only who publishes, and takes no more from there on.
    let mut next = 10;
    let deadline = Instant::now() + PATIENCE;
    while !of_broker(&server.get("/readyz").await?).contains("out of memory or disk") {
        ensure!(Instant::now() < deadline, "there is no alarm after {next} events");
        taken.extend(post(&server, [next]).await?);
        next += 1;
    }
    taken.extend(post(&server, next..next + 20).await?);
    let ready = server.get("/readyz").await?;
    ensure!(ready["status"] == "ready" && of_broker(&ready).contains("events wait in the spool"), "{ready}");
    rabbit.control(&["set_vm_memory_high_watermark", "0.6"])?;
    ensure!(taken.len() == next + 20, "{} were taken", taken.len());
    each_once(&server, taken).await
}

#[tokio::test]
async fn a_queue_that_is_full_at_the_broker_makes_events_wait() -> Result<()> {
    let (rabbit, folder) = (Rabbit::started()?, tempfile::tempdir()?);
    let server = behind(&rabbit.url(), folder.path(), "  full: {types: ['shop.#'], native: true}\n")?;
    let mut taken = post(&server, 0..2).await?;
    let policy = r#"{"max-length": 5, "overflow": "reject-publish"}"#;
    rabbit.control(&["set_policy", "small", "^full$", policy, "--apply-to", "queues"])?;
    // The relay fills it, and what it cannot hand over waits here without using up attempts.
    taken.extend(post(&server, 2..30).await?);
    let queue = server.until("/v1/queues/full", |queue| queue["ready"].as_u64() > Some(0)).await?;
    ensure!(queue["dead"] == 0, "{queue}");
    amqp(
        &rabbit,
        "came = []\nfor method, _, body in channel.consume('full', inactivity_timeout=60):\n    assert body, came\n    \
         came.append(body)\n    channel.basic_ack(method.delivery_tag)\n    if len(set(came)) == 30: break\n\
         assert len(came) == 30, came\nchannel.cancel()",
    )?;
    let queue = server.until("/v1/queues/full", |queue| queue["ready"] == 0).await?;
    ensure!(queue["dead"] == 0 && queue["in_flight"] == 0, "{queue}");
    each_once(&server, taken).await
}

#[tokio::test]
async fn a_queue_declared_with_other_arguments_is_told_and_events_wait_until_it_is_mended() -> Result<()> {
    let (rabbit, folder) = (Rabbit::started()?, tempfile::tempdir()?);
    amqp(&rabbit, "channel.queue_declare('shop', durable=True)")?;
    let server = behind(&rabbit.url(), folder.path(), "  copy: {types: ['shop.#']}\n")?;
    server.until("/readyz", |ready| of_broker(ready).contains("shop")).await?;
    let mut taken = post(&server, 0..20).await?;
    ensure!(rabbit.messages("shop")? == 0, "published although a queue is not there");
    amqp(&rabbit, "channel.queue_delete('shop')")?;
    server.until("/readyz", |ready| of_broker(ready).is_empty()).await?;
    // What is in a queue at the broker goes with it.
    for queue in ["copy", "shop"] {
        server.until(&format!("/v1/queues/{queue}"), |queue| queue["ready"] == 20).await?;
    }

    // Somebody replaces it while the server runs.
    amqp(&rabbit, "channel.queue_delete('shop')\nchannel.queue_declare('shop', durable=True)")?;
    server.until("/readyz", |ready| of_broker(ready).contains("shop")).await?;
    taken.extend(post(&server, 20..40).await?);
    amqp(&rabbit, "channel.queue_delete('shop')")?;
    server.until("/v1/queues/copy", |queue| queue["ready"] == 40).await?;
    ensure!(taken.len() == 40, "{} were taken", taken.len());
    each_once(&server, taken).await
}

#[tokio::test]
async fn a_gateway_that_is_killed_with_a_full_spool_has_all_of_it() -> Result<()> {
    let (mut rabbit, folder) = (Rabbit::new()?, tempfile::tempdir()?);
    let small = "broker: {spool: {events: 50}}\n";
    let server = behind(&rabbit.url(), folder.path(), small)?;
    // The first event of the client brings its announcement along.
    let mut taken = post(&server, [0]).await?;
    taken.extend(post(&server, 1..80).await?);
    ensure!(taken.len() == 49, "{} were taken", taken.len());
    let (status, ready) = server.send(reqwest::Method::GET, "/readyz", &Value::Null).await?;
    ensure!(status == 503 && of_broker(&ready).contains("which is full"), "{status}: {ready}");
    server.kill()?;
    let server = behind(&rabbit.url(), folder.path(), small)?;
    ensure!(post(&server, 80..90).await?.is_empty(), "it is full");
    rabbit.start()?;
    each_once(&server, taken).await
}

/// A server with a data folder of its own, that shares the broker and the signing key.
fn one_of_several(broker: &str, folder: &Path) -> Result<Server> {
    std::fs::create_dir_all(folder)?;
    let config = folder.join("orderwire.yaml");
    std::fs::write(
        &config,
        "broker: {signing_key: '${ORDERWIRE_TEST_SIGNING_KEY}'}\nqueues:\n  shop: {types: ['shop.#']}\n",
    )?;
    let flags = vec!["--config".to_owned(), config.to_string_lossy().into_owned()];
    let env = vec![
        ("ORDERWIRE__BROKER__URL".to_owned(), broker.to_owned()),
        ("ORDERWIRE_TEST_SIGNING_KEY".to_owned(), "a key that all of the servers have".to_owned()),
    ];
    Server::start(&folder.join("data"), &Start { flags, env, ..Start::default() })
}

#[tokio::test]
async fn two_intakes_of_one_queue_share_what_is_in_it() -> Result<()> {
    let rabbit = Rabbit::started()?;
    share_a_queue(&rabbit.url(), || {
        amqp(
            &rabbit,
            "for n in range(1000, 1100):\n    body = '{\"specversion\": \"1.0\", \"id\": \"%d\", \"source\": \"/shop\", \"type\": \
             \"shop.sold\", \"client\": \"acme\", \"data\": {\"n\": %d}}' % (n, n)\n    channel.basic_publish('', 'shop', body)",
        )
    })
    .await
}

/// Two servers share what comes from both and from others, who write the events 1000 to 1099: each
/// comes to one of them, once.
pub(crate) async fn share_a_queue(broker: &str, others_write: impl FnOnce() -> Result<()>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let servers = [
        one_of_several(broker, &folder.path().join("a"))?,
        one_of_several(broker, &folder.path().join("b"))?,
    ];
    for server in &servers {
        server.until("/readyz", |ready| of_broker(ready).is_empty()).await?;
    }
    others_write()?;
    let mut wanted: BTreeSet<u64> = (1000..1100).collect();
    for (server, first) in servers.iter().zip([0, 200]) {
        wanted.extend(post(server, first..first + 200).await?);
    }
    ensure!(wanted.len() == 500, "{} were taken", wanted.len());
    let deadline = Instant::now() + PATIENCE;
    let mut shares = [0, 0];
    while shares.iter().sum::<u64>() < 500 {
        ensure!(Instant::now() < deadline, "{shares:?} of 500 came");
        for (share, server) in shares.iter_mut().zip(&servers) {
            let queue = server.get("/v1/queues/shop").await?;
            ensure!(queue["dead"] == 0, "{queue}");
            *share = queue["ready"].as_u64().context("ready")?;
        }
    }
    // How much each takes is a matter of how much time it gets.
    ensure!(shares.iter().all(|share| *share > 0), "one of them took all: {shares:?}");
    let mut seen = BTreeSet::new();
    for (share, server) in shares.iter().zip(&servers) {
        let mut left = *share;
        while left > 0 {
            let (status, leased) = server.post("/v1/queues/shop/lease", &json!({"max": 500})).await?;
            ensure!(status == 200, "{leased}");
            let deliveries = leased["deliveries"].as_array().context("deliveries")?;
            for delivery in deliveries {
                let n = delivery["event"]["data"]["n"].as_u64().context("a number")?;
                ensure!(seen.insert(n), "event {n} came to both");
            }
            let ids: Vec<&Value> = deliveries.iter().map(|delivery| &delivery["delivery_id"]).collect();
            let (status, acked) = server.post("/v1/queues/shop/ack", &json!({"delivery_ids": ids})).await?;
            ensure!(status == 200, "{acked}");
            left -= deliveries.len() as u64;
        }
    }
    ensure!(seen == wanted, "{} of {} came", seen.len(), wanted.len());
    Ok(())
}

#[tokio::test]
async fn check_tries_the_broker() -> Result<()> {
    let (mut rabbit, folder) = (Rabbit::new()?, tempfile::tempdir()?);
    let config = folder.path().join("orderwire.yaml");
    std::fs::write(&config, format!("listen: 127.0.0.1:0\nbroker: {{url: '{}'}}\n", rabbit.url()))?;
    let (config, data) = (config.to_string_lossy(), folder.path().join("data"));
    let data = data.to_string_lossy();
    let words = ["check", "--connect", "--data", &*data, "--config", &*config];
    let tried = run(&words)?;
    let place = format!("broker.url amqp://127.0.0.1:{}/%2f: ", rabbit.port());
    ensure!(tried.code == 6 && tried.stdout.contains(&format!("FAIL {place}")), "{tried:?}");
    ensure!(!tried.stdout.contains("guest"), "{tried:?}");
    rabbit.start()?;
    let tried = run(&words)?;
    ensure!(tried.code == 0 && tried.stdout.contains(&format!("ok   {place}connected")), "{tried:?}");
    Ok(())
}

/// An event that a server which takes 20,000 bytes does not.
fn large(n: usize) -> Value {
    let mut event = event(n);
    event["data"]["pad"] = "x".repeat(50_000).into();
    event
}

/// The server takes smaller messages than it was known for: what is larger goes the short way, and
/// holds up nothing that is behind it.
#[tokio::test]
async fn what_is_too_large_for_the_broker_holds_up_nothing() -> Result<()> {
    let (rabbit, folder) = (Rabbit::started()?, tempfile::tempdir()?);
    rabbit.control(&["eval", "application:set_env(rabbit, max_message_size, 20000)."])?;
    let proxy = Proxy::to(rabbit.port()).await?;
    proxy.make(Wire::Cut);
    let url = format!("amqp://guest:guest@127.0.0.1:{}/%2f", proxy.port());
    let server = behind(&url, folder.path(), "")?;
    // First by the spool, then without it.
    let mut taken = BTreeSet::new();
    for round in [0, 100] {
        for n in round..round + 30 {
            let body = if n % 10 == 5 { large(n) } else { event(n) };
            let (status, answer) = server.post("/v1/events", &body).await?;
            ensure!(status == 202, "event {n}: {status}: {answer}");
            taken.insert(n as u64);
        }
        proxy.make(Wire::Good);
        server.until("/readyz", |ready| of_broker(ready).is_empty()).await?;
    }
    each_once(&server, taken).await
}

/// Other people's consumers cannot get it: it is a dead letter, and those behind it go on.
#[tokio::test]
async fn what_is_too_large_for_a_native_queue_is_a_dead_letter_and_holds_up_nothing() -> Result<()> {
    let (rabbit, folder) = (Rabbit::started()?, tempfile::tempdir()?);
    rabbit.control(&["eval", "application:set_env(rabbit, max_message_size, 20000)."])?;
    // Many at a time, and one after the other.
    for (name, key) in [("beside", "none"), ("behind", "partitionkey")] {
        let data = folder.path().join(name);
        std::fs::create_dir(&data)?;
        let native = format!("  {name}: {{types: ['shop.#'], native: true, key: {key}}}\n");
        let server = behind(&rabbit.url(), &data, &native)?;
        for n in 0..60 {
            let body = if n % 10 == 5 { large(n) } else { event(n) };
            let (status, answer) = server.post("/v1/events", &body).await?;
            ensure!(status == 202, "event {n}: {status}: {answer}");
        }
        let done = |queue: &Value| {
            queue["ready"] == 0 && queue["in_flight"] == 0 && queue["delayed"] == 0 && queue["dead"] == 6
        };
        server.until(&format!("/v1/queues/{name}"), done).await?;
        let dead = server.get(&format!("/v1/dead?queue={name}")).await?;
        let cause = dead["items"][0]["cause"].as_str().context("a cause")?;
        ensure!(cause.contains("20000 are the most"), "{cause}");
        // At least once: what was on its way when the server ended the channel may come twice.
        amqp(
            &rabbit,
            &format!(
                "import json\ncame = set()\nfor method, _, body in channel.consume('{name}', inactivity_timeout=60):\n    \
                 assert body, came\n    came.add(json.loads(body)['data']['n'])\n    \
                 channel.basic_ack(method.delivery_tag)\n    if len(came) == 54: break\n\
                 assert not [n for n in came if n % 10 == 5], came\nchannel.cancel()"
            ),
        )?;
        ensure!(server.stop()?.success());
    }
    Ok(())
}

/// What a spool there holds would end with the machine, so that there is none.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn there_is_no_spool_in_memory() -> Result<()> {
    let (memory, folder) = (tempfile::tempdir_in("/dev/shm")?, tempfile::tempdir()?);
    let spool = memory.path().join("spool");
    let of_broker =
        format!("broker: {{url: 'amqp://127.0.0.1:1', spool: {{folder: '{}'}}}}\n", spool.display());
    let config = folder.path().join("orderwire.yaml");
    std::fs::write(&config, &of_broker)?;
    let checked = run(&["check", "--config", &config.to_string_lossy()])?;
    let place = spool.display().to_string();
    ensure!(checked.code == 0 && checked.stdout.contains("warning: broker.spool.folder"), "{checked:?}");
    ensure!(checked.stdout.contains("tmpfs") && checked.stdout.contains(&place), "{checked:?}");
    let json = run(&["check", "--output", "json", "--config", &config.to_string_lossy()])?;
    let report: Value = serde_json::from_str(&json.stdout)?;
    ensure!(report["warnings"][0].as_str().is_some_and(|warning| warning.contains(&place)), "{report}");

    let server = behind("amqp://127.0.0.1:1", folder.path(), &of_broker)?;
    ensure!(server.log()?.contains("tmpfs, which is memory"), "{}", server.log()?);
    let response = server.http.post(format!("{}/v1/events", server.url)).json(&event(1)).send().await?;
    let (status, again) = (response.status(), response.headers().contains_key("retry-after"));
    ensure!(status == 503 && again, "{status}: {}", response.text().await?);
    ensure!(!spool.exists(), "nothing is made there");
    // One that keeps nothing has nothing to lose.
    std::fs::write(&config, of_broker.replace("spool: {", "spool: {events: 0, "))?;
    let checked = run(&["check", "--config", &config.to_string_lossy()])?;
    ensure!(checked.code == 0 && !checked.stdout.contains("warning"), "{checked:?}");
    Ok(())
}

/// Rejected, mended, and sent again under the same message id.
#[tokio::test]
async fn a_message_that_was_mended_is_taken_under_the_id_of_the_rejected_one() -> Result<()> {
    let (rabbit, folder) = (Rabbit::started()?, tempfile::tempdir()?);
    let server = behind(&rabbit.url(), folder.path(), "  till: {types: ['till.#'], type: till.sold}\n")?;
    server.until("/readyz", |ready| of_broker(ready).is_empty()).await?;
    let send = |body: &str, count: usize| {
        let script = format!(
            "properties = pika.BasicProperties(message_id='order-7')\n\
             for _ in range({count}): channel.basic_publish('', 'till', b'{body}', properties)"
        );
        amqp(&rabbit, &script)
    };
    send(r#"{"client": "acme", "n": }"#, 2)?;
    server.until("/v1/queues/till", |queue| queue["dead"] == 1 && queue["ready"] == 0).await?;
    send(r#"{"client": "acme", "n": 1}"#, 2)?;
    let queue = server.until("/v1/queues/till", |queue| queue["ready"] == 1).await?;
    ensure!(queue["dead"] == 1, "{queue}");
    let deadline = Instant::now() + PATIENCE;
    while rabbit.messages("till")? > 0 {
        ensure!(Instant::now() < deadline, "the intake does not take in what is left");
    }
    let queue = server.get("/v1/queues/till").await?;
    ensure!(queue["ready"] == 1 && queue["dead"] == 1, "each once: {queue}");
    Ok(())
}
