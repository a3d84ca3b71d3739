//! From the topics of an MQTT broker to rows and events: other people's producers, what is no
//! event, and faults on either side.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::mosquitto::Mosquitto;
use orderwire_e2e::postgres::Postgres;
use orderwire_e2e::{PATIENCE, Server, Start};
use serde_json::{Value, json};

use crate::postgres::on;

const CONFIG: &str = r#"
queues:
  shop: {types: ["shop.#"]}
datasets:
  air:
    fields:
      - {name: station, type: text, required: true}
      - {name: n, type: integer, required: true}
      - {name: no2, type: float}
    key: [station, n]
mqtt:
  plant:
    url: URL
    version: VERSION
    topics:
      - topic: plants/{client}/{station}/air
        dataset: air
        client: "{client}"
        columns: {station: "{station}"}
      - {topic: "shop/{client}/{what}", type: "shop.{what}", client: "{client}", key: "{what}"}
      - {topic: "events/#"}
"#;

fn server(broker: &Mosquitto, folder: &Path, version: &str) -> Result<Server> {
    configured(folder, &CONFIG.replace("URL", &broker.url()).replace("VERSION", version))
}

fn configured(folder: &Path, text: &str) -> Result<Server> {
    started(folder, text, Start::default())
}

fn started(folder: &Path, text: &str, start: Start) -> Result<Server> {
    std::fs::create_dir_all(folder)?;
    let config = folder.join("orderwire.yaml");
    std::fs::write(&config, text)?;
    let flags = vec!["--config".to_owned(), config.to_string_lossy().into_owned()];
    Server::start(&folder.join("data"), &Start { flags, ..start })
}

/// How the connection is, as `/readyz` tells.
fn detail(ready: &Value) -> Value {
    let components = ready["components"].as_array().cloned().unwrap_or_default();
    let of_plant = components.into_iter().find(|component| component["name"] == "mqtt:plant");
    of_plant.map_or(json!("none"), |component| component["detail"].clone())
}

async fn connected(server: &Server) -> Result<()> {
    server.until("/readyz", |ready| ready["status"] == "ready" && detail(ready).is_null()).await.map(drop)
}

/// Leases and acks until so many different events came: how often each did, by its number.
async fn consume(server: &Server, count: usize) -> Result<BTreeMap<u64, usize>> {
    let mut seen = BTreeMap::new();
    while seen.len() < count {
        let (status, leased) =
            server.post("/v1/queues/shop/lease", &json!({"max": 500, "wait_ms": 20_000})).await?;
        ensure!(status == 200, "{leased}");
        let deliveries = leased["deliveries"].as_array().context("deliveries")?;
        ensure!(!deliveries.is_empty(), "only {} of {count} came", seen.len());
        for delivery in deliveries {
            *seen.entry(delivery["event"]["data"]["n"].as_u64().context("a number")?).or_insert(0) += 1;
        }
        let ids: Vec<&Value> = deliveries.iter().map(|delivery| &delivery["delivery_id"]).collect();
        let (status, acked) = server.post("/v1/queues/shop/ack", &json!({"delivery_ids": ids})).await?;
        ensure!(status == 200, "{acked}");
    }
    Ok(seen)
}

/// Waits until these lines are among the metrics: a message is counted a moment after it is durable.
async fn measured(server: &Server, lines: &[String]) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = server.http.get(format!("{}/metrics", server.url)).send().await?.text().await?;
        let Some(missing) = lines.iter().find(|line| !metrics.contains(line.as_str())) else { return Ok(()) };
        ensure!(Instant::now() < deadline, "{missing} is not in {metrics}");
        // tidy: sleep because the metrics are behind HTTP and are asked for again
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_row_of_a_topic_is_read_over_http_and_garbage_stops_nothing() -> Result<()> {
    for version in ["5", "3.1.1"] {
        let (broker, folder) = (Mosquitto::started()?, tempfile::tempdir()?);
        let server = server(&broker, folder.path(), version)?;
        connected(&server).await?;
        for n in 0..10 {
            broker.publish("plants/acme/s1/air", json!({"n": n, "no2": 1.5}).to_string().as_bytes(), &[])?;
            let (mut garbage, mut input) = broker.lines("plants/acme/s1/air")?;
            for line in
                ["no JSON", "{\"n\": \"x\"}", "[1]", "\u{fffd}", "{}", "{\"n\": 1, \"co\": 2}", "21.5", "[{]"]
            {
                writeln!(input, "{line}")?;
            }
            drop(input);
            ensure!(garbage.wait()?.success());
            broker.publish("plants/acme/s1/air", b"\xff\xfe", &[])?;
            broker.publish("plants/no client/s1/air", b"{\"n\": 1}", &[])?;
        }
        // Topics of which no client, no row and no type can be made, a long one, and one below `$`.
        for topic in ["plants//s1/air", "plants/acme//air", "shop/acme/", "shop/acme/no type", "shop//sold"] {
            broker.publish(topic, b"{\"n\": 1}", &[])?;
        }
        broker.publish(&format!("events/{}", "long/".repeat(100)), b"{\"n\": 1}", &[])?;
        broker.publish(&format!("events/{}", "x".repeat(2000)), b"{\"n\": 1}", &[])?;
        broker.publish("$own/acme/s1/air", b"{\"n\": 1}", &[])?;
        broker.publish("plants/acme/s2/air", b"[{\"n\": 1}, {\"n\": 2, \"station\": \"s3\"}]", &[])?;
        let rows = server.until("/rest/air?select=_client,station,n,no2&order=station,n", |rows| {
            rows.as_array().is_some_and(|rows| rows.len() == 12)
        });
        let rows = rows.await?;
        ensure!(rows[0] == json!({"_client": "acme", "station": "s1", "n": 0, "no2": 1.5}), "{rows}");
        ensure!(rows[10] == json!({"_client": "acme", "station": "s2", "n": 1, "no2": null}), "{rows}");
        ensure!(rows[11] == json!({"_client": "acme", "station": "s3", "n": 2, "no2": null}), "{rows}");

        server.until("/v1/queues/data", |queue| queue["dead"] == 106).await?;
        server.until("/v1/queues/shop", |queue| queue["dead"] == 1).await?;
        let dead = server.get("/v1/dead?queue=data&cause=not%20JSON&limit=1").await?;
        ensure!(dead["items"][0]["attempts"] == 1 && dead["items"][0]["client"] == "acme", "{dead}");
        let counted = |outcome: &str, count: u64| {
            format!("orderwire_mqtt_messages_total{{connection=\"plant\",outcome=\"{outcome}\"}} {count}\n")
        };
        let is_connected = "orderwire_mqtt_connected{connection=\"plant\"} 1\n".to_owned();
        measured(&server, &[counted("taken", 11), counted("rejected", 107), is_connected]).await?;
        let status = server.stop()?;
        ensure!(status.success(), "{status}");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_producer_says_beside_the_payload_counts() -> Result<()> {
    let (broker, folder) = (Mosquitto::started()?, tempfile::tempdir()?);
    let server = server(&broker, folder.path(), "5")?;
    connected(&server).await?;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let named = ["-V", "5", "-D", "PUBLISH", "user-property", "message-id", "7"];
    let traced = ["-D", "PUBLISH", "user-property", "traceparent", &parent];
    // The same name twice is one event.
    for _ in 0..2 {
        broker.publish(
            "shop/acme/sold",
            b"{\"n\": 9007199254740993}",
            &[&named[..], &traced[..]].concat(),
        )?;
    }
    // A CloudEvent in binary mode.
    let mut binary = vec!["-V", "5", "-D", "PUBLISH", "content-type", "application/json"];
    for (name, value) in
        [("specversion", "1.0"), ("id", "1"), ("source", "/till"), ("type", "shop.paid"), ("client", "acme")]
    {
        binary.extend(["-D", "PUBLISH", "user-property", name, value]);
    }
    broker.publish("events/x", b"{\"n\": 2}", &binary)?;
    // Of another client than its topic, and without any type.
    broker.publish("shop/acme/sold", b"{\"n\": 3, \"client\": \"evil\"}", &[])?;
    broker.publish("events/x", b"{\"n\": 4}", &[])?;
    broker.publish("elsewhere", b"{\"n\": 5}", &[])?;

    let (_, leased) = server.post("/v1/queues/shop/lease", &json!({"max": 1, "wait_ms": 20_000})).await?;
    let first = &leased["deliveries"][0]["event"];
    ensure!(
        first["type"] == "shop.sold" && first["client"] == "acme" && first["partitionkey"] == "sold",
        "{leased}"
    );
    ensure!(first["data"]["n"] == 9_007_199_254_740_993_u64, "{leased}");
    ensure!(first["source"] == "/mqtt:plant/shop/acme/sold", "{leased}");
    ensure!(first["traceparent"].as_str().is_some_and(|parent| parent.contains(trace)), "{leased}");
    let dead = server.until("/v1/dead?cause=evil", |dead| !dead["items"][0].is_null()).await?;
    ensure!(dead["items"][0]["client"] == "acme" && dead["items"][0]["queue"] == "shop", "{dead}");
    server.until("/v1/dead?queue=data&cause=no%20type", |dead| !dead["items"][0].is_null()).await?;
    let ids = [&leased["deliveries"][0]["delivery_id"]];
    let (status, acked) = server.post("/v1/queues/shop/ack", &json!({"delivery_ids": ids})).await?;
    ensure!(status == 200, "{acked}");
    // What is left is the other event, once: the repeated one came before it.
    let rest = consume(&server, 1).await?;
    ensure!(rest == BTreeMap::from([(2, 1)]), "{rest:?}");
    let shop = server.get("/v1/queues/shop").await?;
    ensure!(shop["ready"] == 0 && shop["in_flight"] == 0 && shop["dead"] == 1, "{shop}");
    // Its recorder may take a moment.
    server.until("/v1/clients", |clients| clients["items"][0]["client"] == "acme").await?;
    Ok(())
}

/// A password comes from a file, and what is mended at the broker needs no restart here.
#[tokio::test]
async fn a_connection_may_what_its_principal_may() -> Result<()> {
    let (mut broker, folder) = (Mosquitto::with_user("plant", "hunter2-hunter2")?, tempfile::tempdir()?);
    std::fs::write(folder.path().join("password"), "hunter2-hunter2\n")?;
    let login = format!("user: plant\n    password: file:{}/password", folder.path().display());
    let text = format!(
        "queues:\n  shop: {{types: ['shop.#']}}\nmqtt:\n  plant:\n    url: {}\n    {login}\n    \
         principal: {{clients: [acme]}}\n    topics:\n      - {{topic: '{{client}}/sold', type: shop.sold, client: '{{client}}'}}\n      \
         - {{topic: 'events/#'}}\n",
        broker.url()
    );
    let server = configured(folder.path(), &text)?;
    broker.start()?;
    connected(&server).await?;
    let as_plant = ["-u", "plant", "-P", "hunter2-hunter2"];
    let order = json!({"specversion": "1.0", "id": "1", "source": "/x", "type": "orderwire.order.requested",
                       "client": "acme", "data": {"client": "acme", "product": "small"}});
    for (topic, body) in [
        ("acme/sold", json!({"n": 1})),
        ("evil/sold", json!({"n": 2})),
        (
            "events/x",
            json!({"specversion": "1.0", "id": "2", "source": "/x", "type": "shop.sold", "client": "evil"}),
        ),
        (
            "events/x",
            json!({"specversion": "1.0", "id": "3", "source": "/orderwire/x", "type": "shop.sold", "client": "acme"}),
        ),
        ("events/x", order),
        ("acme/sold", json!({"n": 3})),
    ] {
        broker.publish(topic, body.to_string().as_bytes(), &as_plant)?;
    }
    let seen = consume(&server, 2).await?;
    ensure!(seen.keys().eq([1, 3].iter()), "{seen:?}");
    let dead =
        server.until("/v1/dead?limit=10", |dead| dead["items"].as_array().is_some_and(|all| all.len() == 4));
    let dead = dead.await?;
    for cause in
        ["client evil is outside", "sources that begin with /orderwire", "lacks the right \\\"order\\\""]
    {
        ensure!(dead.to_string().contains(cause), "{cause} is not in {dead}");
    }
    // None is of a client outside of the principal.
    let clients: Vec<&Value> =
        dead["items"].as_array().context("items")?.iter().map(|dead| &dead["client"]).collect();
    ensure!(clients.iter().all(|client| **client == "acme"), "{clients:?}");
    let orders = server.get("/v1/orders").await?;
    ensure!(orders["items"] == json!([]), "{orders}");
    Ok(())
}

#[tokio::test]
async fn a_broker_that_is_away_is_told_and_no_reason_not_to_be_ready() -> Result<()> {
    let (mut broker, folder) = (Mosquitto::new()?, tempfile::tempdir()?);
    let server = server(&broker, folder.path(), "5")?;
    let ready = server.until("/readyz", |ready| detail(ready).to_string().contains("connecting to")).await?;
    ensure!(ready["status"] == "ready", "{ready}");
    broker.start()?;
    connected(&server).await?;
    broker.stop()?;
    server.until("/readyz", |ready| !detail(ready).is_null()).await?;
    ensure!(server.stop()?.success());
    Ok(())
}

/// 4,000 events under which the server is killed four times and the broker restarted twice.
#[tokio::test]
async fn kills_and_restarts_lose_nothing_and_named_events_come_once() -> Result<()> {
    const EVENTS: u64 = 4_000;
    let (mut broker, folder) = (Mosquitto::started()?, tempfile::tempdir()?);
    let mut running = server(&broker, folder.path(), "5")?;
    connected(&running).await?;
    let mut n = 0;
    for round in 0..8 {
        let (mut producer, mut input) = broker.lines("events/till")?;
        while n < EVENTS / 8 * (round + 1) {
            let event = json!({"specversion": "1.0", "id": n.to_string(), "source": "/till", "type": "shop.sold",
                               "client": "acme", "data": {"n": n}});
            writeln!(input, "{event}")?;
            n += 1;
        }
        drop(input);
        if round % 2 == 0 {
            // Somewhere between the arrival of a message and its acknowledgement.
            running.until("/v1/queues/shop", |queue| queue["ready"].as_u64() > Some(n / 2)).await?;
            running.kill()?;
            running = server(&broker, folder.path(), "5")?;
        }
        ensure!(producer.wait()?.success(), "mosquitto_pub failed");
        if round % 4 == 1 {
            broker.stop()?;
            broker.start()?;
        }
    }
    let seen = consume(&running, usize::try_from(EVENTS)?).await?;
    let doubled: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).take(10).collect();
    ensure!(doubled.is_empty(), "came more than once: {doubled:?}");
    let left = running.get("/v1/queues/shop").await?;
    ensure!(left["ready"] == 0 && left["dead"] == 0, "{left}");
    Ok(())
}

/// Sells these numbers in messages that have no name, or that of an event.
fn sell(broker: &Mosquitto, numbers: std::ops::Range<u64>, named: bool) -> Result<()> {
    let topic = if named { "events/till" } else { "shop/acme/sold" };
    let (mut producer, mut input) = broker.lines(topic)?;
    for n in numbers {
        let data = json!({"n": n});
        let event = json!({"specversion": "1.0", "id": n.to_string(), "source": "/till", "type": "shop.sold",
                           "client": "acme", "data": data});
        writeln!(input, "{}", if named { event } else { data })?;
    }
    drop(input);
    ensure!(producer.wait()?.success(), "mosquitto_pub failed");
    Ok(())
}

/// These numbers come, each once.
async fn each_once(server: &Server, numbers: std::ops::Range<u64>) -> Result<()> {
    let seen = consume(server, numbers.clone().count()).await?;
    ensure!(seen == numbers.map(|n| (n, 1)).collect(), "{seen:?}");
    let queue = server.get("/v1/queues/shop").await?;
    ensure!(queue["ready"] == 0 && queue["dead"] == 0, "{queue}");
    Ok(())
}

/// By which names the broker knew the connection, none of which was thrown out by another one.
fn client_ids(broker: &Mosquitto) -> Result<BTreeSet<String>> {
    let log = broker.log();
    ensure!(!log.contains("already connected"), "one threw out the other: {log}");
    let words = log.split(|c: char| c.is_whitespace() || ",'\"()".contains(c));
    let ids = words.map(|word| word.trim_end_matches('.')).filter(|word| word.starts_with("orderwire-plant"));
    Ok(ids.map(str::to_owned).collect())
}

#[tokio::test]
async fn of_servers_that_share_a_store_one_subscribes_and_another_takes_over() -> Result<()> {
    let (broker, postgres, folder) = (Mosquitto::started()?, Postgres::started()?, tempfile::tempdir()?);
    let text = CONFIG.replace("URL", &broker.url()).replace("VERSION", "5");
    let node = |name: &str| started(&folder.path().join(name), &text, on(&postgres));
    let is_the_others = |ready: &Value| detail(ready).to_string().contains("does not have the turn");
    let one = node("one")?;
    connected(&one).await?;
    let two = node("two")?;
    let ready = two.until("/readyz", is_the_others).await?;
    ensure!(ready["status"] == "ready", "{ready}");
    // Nothing but the subscription could tell that one of them was taken twice.
    sell(&broker, 0..200, false)?;
    each_once(&two, 0..200).await?;
    one.kill()?;
    // Also what comes while nobody is there: the broker keeps it for whoever is next.
    sell(&broker, 200..400, true)?;
    connected(&two).await?;
    sell(&broker, 400..600, false)?;
    each_once(&two, 200..600).await?;
    // One that goes in good order is followed by the other, and comes back as the other.
    let one = node("one")?;
    one.until("/readyz", is_the_others).await?;
    ensure!(two.stop()?.success());
    connected(&one).await?;
    sell(&broker, 600..700, false)?;
    each_once(&one, 600..700).await?;
    let ids = client_ids(&broker)?;
    ensure!(ids.len() == 1, "their sessions are not the same: {ids:?}");
    Ok(())
}

#[tokio::test]
async fn two_installations_at_one_broker_have_sessions_of_their_own_over_restarts() -> Result<()> {
    let (broker, folder) = (Mosquitto::started()?, tempfile::tempdir()?);
    let folders = ["one", "two"].map(|name| folder.path().join(name));
    for n in 0..2 {
        let [one, two] = [&folders[0], &folders[1]].map(|folder| server(&broker, folder, "5"));
        let (one, two) = (one?, two?);
        for server in [&one, &two] {
            connected(server).await?;
        }
        sell(&broker, n * 50..(n + 1) * 50, false)?;
        for server in [one, two] {
            each_once(&server, n * 50..(n + 1) * 50).await?;
            ensure!(server.stop()?.success());
        }
    }
    let ids = client_ids(&broker)?;
    ensure!(ids.len() == 2, "each has one: {ids:?}");
    Ok(())
}
