//! WebSockets: credit, settlements, and what the end of a connection means.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{SinkExt as _, StreamExt as _};
use orderwire_e2e::ws::{Refused, Socket};
use orderwire_e2e::{Server, Start};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::consume_sse::{make_queue, publish};

const PATH: &str = "/v1/queues/shop/ws";

async fn shop() -> Result<(tempfile::TempDir, Server)> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&folder.path().join("data"), &Start::default())?;
    make_queue(&server, "shop").await?;
    Ok((folder, server))
}

fn number(delivery: &Value) -> &Value {
    &delivery["event"]["data"]["n"]
}

#[tokio::test]
async fn nothing_is_handed_out_beyond_the_credit() -> Result<()> {
    let (_folder, server) = shop().await?;
    publish(&server, "shop", 0..10).await?;
    let mut socket = Socket::open(&server, PATH).await?;
    socket.silence().await?;
    socket.say(&json!({"credit": 3})).await?;
    let mut held = Vec::new();
    for n in 0..3 {
        let delivery = socket.delivery().await?;
        ensure!(*number(&delivery) == n && delivery["attempt"] == 1, "{delivery}");
        held.push(delivery);
    }
    socket.silence().await?;
    let queue = server.get("/v1/queues/shop").await?;
    ensure!(queue["in_flight"] == 3 && queue["ready"] == 7, "{queue}");
    // An ack alone is no credit.
    socket.ack(&held[0]).await?;
    let acked = socket.hear().await?;
    ensure!(acked == json!({"acked": [held[0]["delivery_id"]], "errors": []}), "{acked}");
    socket.silence().await?;
    socket.say(&json!({"credit": 1})).await?;
    ensure!(*number(&socket.delivery().await?) == 3);
    socket.silence().await?;

    // A nack takes those behind it along; a lost lease is told, one by one.
    socket.say(&json!({"nack": [held[1]["delivery_id"]], "delay_ms": 0, "cause": "busy"})).await?;
    let nacked = socket.hear().await?;
    ensure!(nacked == json!({"nacked": [held[1]["delivery_id"]], "errors": []}), "{nacked}");
    socket.say(&json!({"extend": [held[2]["delivery_id"]], "lease_ms": 1000})).await?;
    let extended = socket.hear().await?;
    ensure!(extended["extended"] == json!([]), "{extended}");
    ensure!(extended["errors"][0]["delivery_id"] == held[2]["delivery_id"], "{extended}");
    // Who asks for too much gets the most there is; the rest of the queue comes in order.
    socket.say(&json!({"credit": 1_000_000})).await?;
    let mut ids = Vec::new();
    for (n, attempt) in [(1, 2), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1), (8, 1), (9, 1)] {
        let delivery = socket.delivery().await?;
        ensure!(*number(&delivery) == n && delivery["attempt"] == attempt, "{n} {attempt}: {delivery}");
        ids.push(delivery["delivery_id"].clone());
    }
    socket.say(&json!({"ack": ids})).await?;
    let acked = socket.hear().await?;
    ensure!(acked == json!({"acked": ids, "errors": []}), "{acked}");
    server.until("/v1/queues/shop", |queue| queue["in_flight"] == 0 && queue["ready"] == 0).await?;
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_consumer_that_is_killed_leaves_its_deliveries_to_others() -> Result<()> {
    let (_folder, server) = shop().await?;
    publish(&server, "shop", 0..3).await?;
    let mut killed = Socket::open(&server, PATH).await?;
    killed.say(&json!({"credit": 3})).await?;
    let first = killed.delivery().await?;
    killed.delivery().await?;
    killed.ack(&first).await?;
    // The ack has an answer; what else was sent does not matter.
    while killed.hear().await?["acked"].is_null() {}
    // Without a word, as a process ends that is killed.
    drop(killed);
    let mut other = Socket::open(&server, PATH).await?;
    other.say(&json!({"credit": 9})).await?;
    let begin = Instant::now();
    // Its lease would have lasted a minute.
    for (n, attempt) in [(1, 2), (2, 1)] {
        let delivery = other.delivery().await?;
        ensure!(*number(&delivery) == n && delivery["attempt"] == attempt, "{delivery}");
    }
    ensure!(begin.elapsed() < Duration::from_secs(20), "it took {:?}", begin.elapsed());
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn what_is_not_understood_is_answered_and_the_connection_goes_on() -> Result<()> {
    let (_folder, server) = shop().await?;
    let mut socket = Socket::open(&server, PATH).await?;
    for (message, status) in [
        (Message::text("garbage"), 400),
        (Message::text("{\"credit\":0}"), 422),
        (Message::text("{\"credit\":1,\"ack\":[]}"), 422),
        (Message::text("{\"ack\":[\"nothing\"]}"), 422),
        (Message::text("[".repeat(10_000)), 422),
        (Message::binary(vec![0xff, 0]), 400),
    ] {
        let shown = format!("{message:?}").chars().take(60).collect::<String>();
        socket.inner.send(message).await?;
        let said = socket.hear().await?;
        ensure!(said["error"]["status"] == status, "{shown}: {said}");
    }
    let mistyped = json!({"ack": ["nothing"]});
    socket.say(&mistyped).await?;
    ensure!(socket.hear().await?["error"]["pointer"] == "/ack/0");
    socket.inner.send(Message::Ping(vec![7].into())).await?;
    ensure!(matches!(socket.inner.next().await.context("a pong")??, Message::Pong(body) if body[..] == [7]));
    publish(&server, "shop", 0..1).await?;
    socket.say(&json!({"credit": 1})).await?;
    ensure!(*number(&socket.delivery().await?) == 0);
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_connection() -> Result<()> {
    let (_folder, server) = shop().await?;
    publish(&server, "shop", 0..1).await?;
    let mut socket = Socket::open(&server, PATH).await?;
    socket.say(&json!({"credit": 1})).await?;
    socket.delivery().await?;
    socket.inner.send(Message::text("x".repeat((64 << 10) + 1))).await?;
    let close = socket.next().await?.err().flatten().context("a close frame")?;
    ensure!(u16::from(close.code) == 1009, "{close:?}");
    // It was the consumer's own doing: its delivery is somebody else's soon.
    let lease = json!({"wait_ms": 20_000});
    let (_, leased) = server.post("/v1/queues/shop/lease", &lease).await?;
    ensure!(leased["deliveries"][0]["attempt"] == 2, "{leased}");
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn who_may_not_consume_is_not_let_in() -> Result<()> {
    let (_folder, server) = shop().await?;
    let refused = |status| Some(Refused(status));
    let key = async |new: Value| -> Result<String> {
        let (status, made) = server.post("/v1/keys", &new).await?;
        ensure!(status == 201, "{made}");
        Ok(made["key"].as_str().context("a key")?.to_owned())
    };
    let reader = key(json!({"name": "reader", "roles": ["read"]})).await?;
    let bolt = key(json!({"name": "bolt", "roles": ["consume"], "clients": ["bolt"]})).await?;
    let none: &[(&'static str, &str)] = &[];
    ensure!(Socket::with(&server, PATH, none).await?.err() == refused(401));
    let in_the_url = format!("{PATH}?key={}", server.key);
    ensure!(Socket::with(&server, &in_the_url, none).await?.err() == refused(401));
    ensure!(Socket::with(&server, PATH, &[("x-api-key", reader.as_str())]).await?.err() == refused(403));
    let clients = "/v1/queues/clients/ws";
    ensure!(
        Socket::with(&server, clients, &[("x-api-key", server.key.as_str())]).await?.err() == refused(409)
    );

    // As a browser does it: the key among the subprotocols, which is not sent back.
    let offer = format!("orderwire, orderwire.key.{bolt}");
    let socket = Socket::with(&server, PATH, &[("sec-websocket-protocol", offer.as_str())]).await?;
    let mut socket = socket.ok().context("the key of a browser is taken")?;
    ensure!(socket.protocol.as_deref() == Some("orderwire"), "{:?}", socket.protocol);
    socket.say(&json!({"credit": 9})).await?;
    for client in ["acme", "bolt"] {
        let request = server.http.post(format!("{}/v1/events/shop.made", server.url));
        let request = request.header("orderwire-client", client).json(&json!({"n": client}));
        ensure!(request.send().await?.status() == 202);
    }
    ensure!(*number(&socket.delivery().await?) == "bolt");
    socket.silence().await?;
    let foreign = server.post("/v1/queues/shop/lease", &json!({})).await?.1;
    let foreign = &foreign["deliveries"][0]["delivery_id"];
    socket.say(&json!({"ack": [foreign]})).await?;
    let said = socket.hear().await?;
    ensure!(said["acked"] == json!([]) && said["errors"][0]["delivery_id"] == *foreign, "{said}");
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_server_that_goes_down_says_so_and_takes_what_was_sent() -> Result<()> {
    let (folder, mut server) = shop().await?;
    publish(&server, "shop", 0..3).await?;
    let mut socket = Socket::open(&server, PATH).await?;
    socket.say(&json!({"credit": 2})).await?;
    let first = socket.delivery().await?;
    let second = socket.delivery().await?;
    let begin = Instant::now();
    server.signal("TERM")?;
    let close = socket.next().await?.err().flatten().context("a close frame")?;
    ensure!(u16::from(close.code) == 1001, "{close:?}");
    // The library answers the goodbye by itself; the server does not wait for long.
    let status = server.wait()?;
    ensure!(status.success(), "{status}");
    ensure!(begin.elapsed() < Duration::from_secs(8), "the end took {:?}", begin.elapsed());

    let server = Server::start(&folder.path().join("data"), &Start::default())?;
    let mut socket = Socket::open(&server, PATH).await?;
    socket.say(&json!({"ack": [first["delivery_id"], second["delivery_id"]]})).await?;
    let acked = socket.hear().await?;
    ensure!(acked["errors"] == json!([]), "what was handed out can be settled afterwards: {acked}");
    socket.say(&json!({"credit": 5})).await?;
    let third = socket.delivery().await?;
    ensure!(*number(&third) == 2 && third["attempt"] == 1, "{third}");
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_consumer_that_reads_nothing_is_cut() -> Result<()> {
    let (_folder, server) = shop().await?;
    // More than the system takes for a peer that does not read.
    let text = "x".repeat(200 << 10);
    for n in 0..100 {
        let (status, answer) =
            server.post("/v1/events/shop.made", &json!({"n": n, "fields": vec![&text; 4]})).await?;
        ensure!(status == 202, "{answer}");
    }
    let mut socket = Socket::open(&server, PATH).await?;
    socket.say(&json!({"credit": 1_000})).await?;
    server.until("/v1/queues/shop", |queue| queue["in_flight"].as_u64() > Some(1)).await?;
    let cut = server.until("/v1/queues/shop", |queue| queue["in_flight"] == 0).await?;
    ensure!(cut["ready"] == 99 && cut["delayed"] == 1, "{cut}");
    drop(socket);
    ensure!(server.stop()?.success());
    Ok(())
}
