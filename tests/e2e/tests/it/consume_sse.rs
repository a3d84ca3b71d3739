//! Server-sent events: what settlements free, and what the end of a connection means.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use orderwire_e2e::sse::Stream;
use orderwire_e2e::{Server, Start};
use serde_json::{Value, json};

/// A server with the queue `shop`.
async fn shop() -> Result<(tempfile::TempDir, Server)> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&folder.path().join("data"), &Start::default())?;
    make_queue(&server, "shop").await?;
    Ok((folder, server))
}

pub(crate) async fn make_queue(server: &Server, name: &str) -> Result<()> {
    let new = json!({"name": name, "types": [format!("{name}.#")]});
    let (status, answer) = server.post("/v1/queues", &new).await?;
    ensure!(status < 300, "{status}: {answer}");
    Ok(())
}

/// Publishes events with these numbers, all of one key.
pub(crate) async fn publish(server: &Server, queue: &str, numbers: std::ops::Range<u32>) -> Result<()> {
    let lines: String = numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let path = format!("{}/v1/events/{queue}.made", server.url);
    let request = server.http.post(path).header("content-type", "application/x-ndjson").body(lines);
    let response = request.send().await?;
    ensure!(response.status() == 202, "{}", response.text().await?);
    Ok(())
}

async fn ack(server: &Server, id: &str) -> Result<()> {
    let (status, answer) = server.post("/v1/queues/shop/ack", &json!({"delivery_ids": [id]})).await?;
    ensure!(status == 200, "{status}: {answer}");
    Ok(())
}

#[tokio::test]
async fn an_ack_by_any_connection_frees_the_next_delivery_at_once() -> Result<()> {
    let (_folder, server) = shop().await?;
    publish(&server, "shop", 0..6).await?;
    let mut stream = Stream::open(&server, "/v1/queues/shop/stream?max=3").await?;
    let mut held = Vec::new();
    for n in 0..3 {
        let event = stream.delivery().await?;
        ensure!(event.data["event"]["data"]["n"] == n && event.data["attempt"] == 1, "{event:?}");
        held.push(event.id);
    }
    let waits = tokio::time::timeout(Duration::from_millis(300), stream.next()).await;
    ensure!(waits.is_err(), "more than three: {waits:?}");
    let queue = server.get("/v1/queues/shop").await?;
    ensure!(queue["in_flight"] == 3 && queue["ready"] == 3, "{queue}");
    for n in 3..6 {
        let begin = Instant::now();
        // A client of its own, thus a connection of its own.
        let other = orderwire_e2e::client(&server.key)?;
        let body = json!({"delivery_ids": [held.remove(0)]});
        let acked = other.post(format!("{}/v1/queues/shop/ack", server.url)).json(&body).send().await?;
        ensure!(acked.status() == 200, "{}", acked.text().await?);
        let event = stream.delivery().await?;
        ensure!(event.data["event"]["data"]["n"] == n, "{event:?}");
        ensure!(begin.elapsed() < Duration::from_secs(5), "it took {:?}", begin.elapsed());
        held.push(event.id);
    }
    // What comes later is pushed, too.
    for id in held {
        ack(&server, &id).await?;
    }
    publish(&server, "shop", 6..7).await?;
    ensure!(stream.delivery().await?.data["event"]["data"]["n"] == 6);
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn what_a_lost_consumer_had_comes_again_after_its_lease_and_the_rest_at_once() -> Result<()> {
    let (_folder, server) = shop().await?;
    for key in 0..4 {
        let event = json!({"specversion": "1.0", "id": key.to_string(), "source": "/test", "type": "shop.made",
            "partitionkey": key.to_string(), "data": {"n": key}});
        let request = server.http.post(format!("{}/v1/events", server.url));
        let request = request.header("content-type", "application/cloudevents+json").body(event.to_string());
        let response = request.send().await?;
        ensure!(response.status() == 202, "{}", response.text().await?);
    }
    let mut stream = Stream::open(&server, "/v1/queues/shop/stream?max=1&lease_ms=1500").await?;
    let lost = stream.delivery().await?;
    drop(stream);
    let lease = json!({"max": 9, "wait_ms": 20_000, "lease_ms": 60_000});
    let mut numbers = Vec::new();
    while numbers.len() < 4 {
        let (_, leased) = server.post("/v1/queues/shop/lease", &lease).await?;
        for delivery in leased["deliveries"].as_array().into_iter().flatten() {
            let (n, attempt) = (&delivery["event"]["data"]["n"], &delivery["attempt"]);
            let due = if *n == lost.data["event"]["data"]["n"] { 2 } else { 1 };
            ensure!(*attempt == due, "{delivery}");
            numbers.push(n.clone());
        }
    }
    ensure!(numbers[3] == lost.data["event"]["data"]["n"], "the lost one comes last: {numbers:?}");
    let late = json!({"delivery_ids": [lost.id]});
    ensure!(server.post("/v1/queues/shop/ack", &late).await?.0 == 409, "an ack after the lease");
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_stream_ends_cleanly_with_the_server_and_its_deliveries_can_be_settled_afterwards() -> Result<()> {
    let (folder, mut server) = shop().await?;
    publish(&server, "shop", 0..2).await?;
    let mut stream = Stream::open(&server, "/v1/queues/shop/stream?max=1").await?;
    let held = stream.delivery().await?;
    let mut idle = Stream::open(&server, "/v1/queues/shop/stream").await?;
    let begin = Instant::now();
    server.signal("TERM")?;
    ensure!(stream.next().await?.is_none() && idle.next().await?.is_none(), "more than the end came");
    let status = server.wait()?;
    ensure!(status.success(), "{status}");
    ensure!(begin.elapsed() < Duration::from_secs(5), "the end took {:?}", begin.elapsed());

    let server = Server::start(&folder.path().join("data"), &Start::default())?;
    ack(&server, &held.id).await?;
    let mut stream = Stream::open(&server, "/v1/queues/shop/stream").await?;
    let next = stream.delivery().await?;
    ensure!(next.data["event"]["data"]["n"] == 1 && next.data["attempt"] == 1, "{next:?}");
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn each_consumer_gets_what_its_key_covers() -> Result<()> {
    let (_folder, server) = shop().await?;
    for client in ["acme", "bolt"] {
        let request = server.http.post(format!("{}/v1/events/shop.made", server.url));
        let request = request.header("orderwire-client", client).json(&json!({"of": client}));
        ensure!(request.send().await?.status() == 202);
    }
    let new = json!({"name": "bolt", "roles": ["consume"], "clients": ["bolt"]});
    let (status, made) = server.post("/v1/keys", &new).await?;
    ensure!(status == 201, "{made}");
    let key: Value = made["key"].clone();
    let http = orderwire_e2e::client(key.as_str().unwrap_or_default())?;
    let response = http.get(format!("{}/v1/queues/shop/stream", server.url)).send().await?;
    ensure!(response.status() == 200);
    let mut stream = Stream::of(response);
    ensure!(stream.delivery().await?.data["event"]["data"]["of"] == "bolt");
    let waits = tokio::time::timeout(Duration::from_millis(300), stream.next()).await;
    ensure!(waits.is_err(), "more than its own: {waits:?}");
    let worker = http.get(format!("{}/v1/queues/clients/stream", server.url)).send().await?;
    ensure!(worker.status() == 409, "{}", worker.status());
    ensure!(server.stop()?.success());
    Ok(())
}
