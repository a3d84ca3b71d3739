//! What a task queue promises, in the embedded store and on PostgreSQL, without a broker and
//! behind each: the same cases, because a broker only transports.

use std::any::Any;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use orderwire_e2e::kafka::{self, Kafka};
use orderwire_e2e::nats::Nats;
use orderwire_e2e::postgres::Postgres;
use orderwire_e2e::rabbit::Rabbit;
use orderwire_e2e::sse::Stream;
use orderwire_e2e::ws::Socket;
use orderwire_e2e::{PATIENCE, Server, Start};
use serde_json::{Value, json};

use crate::postgres;

/// A world: a server, and what has to live as long.
struct World {
    server: Server,
    _broker: Box<dyn Any>,
}

fn embedded(folder: &Path) -> Result<World> {
    Ok(World { server: start(folder, Start::default())?, _broker: Box::new(()) })
}

fn rabbitmq(folder: &Path) -> Result<World> {
    let rabbit = Rabbit::started()?;
    Ok(World { server: start(folder, at(rabbit.url()))?, _broker: Box::new(rabbit) })
}

fn nats(folder: &Path) -> Result<World> {
    let nats = Nats::started()?;
    Ok(World { server: start(folder, at(nats.url()))?, _broker: Box::new(nats) })
}

fn postgresql(folder: &Path) -> Result<World> {
    let postgres = Postgres::started()?;
    Ok(World { server: start(folder, postgres::on(&postgres))?, _broker: Box::new(postgres) })
}

/// The binary is another one: Kafka is a feature.
fn kafka(folder: &Path) -> Result<World> {
    let kafka = Kafka::started()?;
    let start_at = Start { binary: Some(kafka::binary()?), ..at(kafka.url()) };
    Ok(World { server: start(folder, start_at)?, _broker: Box::new(kafka) })
}

/// With the broker of this address.
fn at(url: String) -> Start {
    Start { env: vec![("ORDERWIRE__BROKER__URL".to_owned(), url)], ..Start::default() }
}

fn start(folder: &Path, start: Start) -> Result<Server> {
    let config = folder.join("orderwire.yaml");
    std::fs::write(
        &config,
        "queues:\n  shop: {types: ['shop.#'], attempts: 2, backoff: {first: 1ms, last: 1ms}}\n  \
         copy: {types: ['shop.*.sold', 'other.#']}\n",
    )?;
    let flags = vec!["--config".to_owned(), config.to_string_lossy().into_owned()];
    Server::start(&folder.join("data"), &Start { flags, ..start })
}

macro_rules! cases {
    ($($case:ident)+) => {
        mod in_the_embedded_world { $(#[tokio::test] async fn $case() -> anyhow::Result<()> { super::run(super::embedded, super::$case).await })+ }
        mod on_postgresql { $(#[tokio::test] async fn $case() -> anyhow::Result<()> { super::run(super::postgresql, super::$case).await })+ }
        mod behind_kafka { $(#[tokio::test] async fn $case() -> anyhow::Result<()> { super::run(super::kafka, super::$case).await })+ }
        mod behind_nats { $(#[tokio::test] async fn $case() -> anyhow::Result<()> { super::run(super::nats, super::$case).await })+ }
        mod behind_rabbitmq { $(#[tokio::test] async fn $case() -> anyhow::Result<()> { super::run(super::rabbitmq, super::$case).await })+ }
    };
}

cases! {
    events_of_a_key_come_in_order_and_once
    clients_take_turns
    a_failed_delivery_comes_again_and_then_is_a_dead_letter
    events_fan_out_by_their_type
    a_lease_that_ends_brings_a_delivery_again
    an_extended_lease_holds_its_delivery
    a_delay_is_kept
    a_key_is_with_one_consumer_at_a_time
    a_paused_queue_hands_out_nothing
    a_replayed_dead_letter_comes_again
    a_stream_of_events_pushes_what_settlements_free
    a_web_socket_hands_out_what_its_credit_allows
}

async fn run(world: fn(&Path) -> Result<World>, case: impl AsyncFn(&Server) -> Result<()>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let world = world(folder.path())?;
    case(&world.server).await?;
    ensure!(world.server.stop()?.success());
    Ok(())
}

async fn post(server: &Server, client: &str, key: &str, n: usize) -> Result<()> {
    let event = json!({"specversion": "1.0", "id": format!("{client}-{n}"), "source": "/shop", "type": "shop.till.sold",
                       "client": client, "partitionkey": key, "data": {"n": n}});
    let (status, answer) = server.post("/v1/events", &event).await?;
    ensure!(status == 202 && answer["queues"] == json!(["copy", "shop"]), "{status}: {answer}");
    Ok(())
}

/// Waits until so many deliveries can be leased.
async fn ready(server: &Server, queue: &str, count: u64) -> Result<()> {
    server.until(&format!("/v1/queues/{queue}"), |state| state["ready"] == count).await.map(drop)
}

async fn lease(server: &Server, max: usize) -> Result<Vec<Value>> {
    let (status, leased) =
        server.post("/v1/queues/shop/lease", &json!({"max": max, "wait_ms": 30_000})).await?;
    ensure!(status == 200, "{status}: {leased}");
    Ok(leased["deliveries"].as_array().context("deliveries")?.clone())
}

async fn settle(server: &Server, how: &str, deliveries: &[Value]) -> Result<()> {
    let ids: Vec<&Value> = deliveries.iter().map(|delivery| &delivery["delivery_id"]).collect();
    let (status, answer) =
        server.post(&format!("/v1/queues/shop/{how}"), &json!({"delivery_ids": ids})).await?;
    ensure!(status == 200, "{status}: {answer}");
    Ok(())
}

fn numbers(deliveries: &[Value]) -> Vec<u64> {
    deliveries.iter().filter_map(|delivery| delivery["event"]["data"]["n"].as_u64()).collect()
}

async fn events_of_a_key_come_in_order_and_once(server: &Server) -> Result<()> {
    for n in 0..20 {
        post(server, "acme", "till", n).await?;
        post(server, "acme", "till", n).await?;
    }
    ready(server, "shop", 20).await?;
    let mut found = Vec::new();
    while found.len() < 20 {
        let deliveries = lease(server, 7).await?;
        ensure!(!deliveries.is_empty(), "only {found:?} came");
        found.extend(numbers(&deliveries));
        settle(server, "ack", &deliveries).await?;
    }
    ensure!(found == (0..20).collect::<Vec<u64>>(), "{found:?}");
    Ok(())
}

async fn clients_take_turns(server: &Server) -> Result<()> {
    for n in 0..50 {
        post(server, "busy", &n.to_string(), n).await?;
    }
    ready(server, "shop", 50).await?;
    let first = lease(server, 1).await?;
    ensure!(first[0]["event"]["client"] == "busy", "{first:?}");
    settle(server, "ack", &first).await?;
    post(server, "quiet", "k", 0).await?;
    ready(server, "shop", 50).await?;
    let next = lease(server, 1).await?;
    ensure!(next[0]["event"]["client"] == "quiet", "{next:?}");
    Ok(())
}

async fn a_failed_delivery_comes_again_and_then_is_a_dead_letter(server: &Server) -> Result<()> {
    post(server, "acme", "till", 1).await?;
    post(server, "acme", "till", 2).await?;
    ready(server, "shop", 2).await?;
    for attempt in 1..=2 {
        let got = lease(server, 1).await?;
        ensure!(numbers(&got) == [1] && got[0]["attempt"] == attempt, "{got:?}");
        settle(server, "nack", &got).await?;
    }
    let got = lease(server, 1).await?;
    ensure!(numbers(&got) == [2], "a dead letter holds back those behind it: {got:?}");
    let dead = server.get("/v1/dead?queue=shop").await?;
    ensure!(dead["items"].as_array().is_some_and(|items| items.len() == 1), "{dead}");
    Ok(())
}

async fn events_fan_out_by_their_type(server: &Server) -> Result<()> {
    post(server, "acme", "till", 1).await?;
    let (status, answer) = server.post("/v1/events/shop.opened", &json!({"client": "acme", "n": 2})).await?;
    ensure!(status == 202 && answer["queues"] == json!(["shop"]), "{status}: {answer}");
    ready(server, "shop", 2).await?;
    ready(server, "copy", 1).await?;
    Ok(())
}

/// Leases one delivery for so long.
async fn lease_for(server: &Server, milliseconds: u64, wait: u64) -> Result<Vec<Value>> {
    let request = json!({"max": 1, "wait_ms": wait, "lease_ms": milliseconds});
    let (status, leased) = server.post("/v1/queues/shop/lease", &request).await?;
    ensure!(status == 200, "{status}: {leased}");
    Ok(leased["deliveries"].as_array().context("deliveries")?.clone())
}

async fn a_lease_that_ends_brings_a_delivery_again(server: &Server) -> Result<()> {
    post(server, "acme", "till", 1).await?;
    ready(server, "shop", 1).await?;
    let first = lease_for(server, 1_000, 0).await?;
    ensure!(numbers(&first) == [1] && first[0]["attempt"] == 1, "{first:?}");
    let again = lease(server, 1).await?;
    ensure!(numbers(&again) == [1] && again[0]["attempt"] == 2, "{again:?}");
    // The first lease is of no use any more.
    let ids = json!({"delivery_ids": [first[0]["delivery_id"]]});
    let (status, late) = server.post("/v1/queues/shop/ack", &ids).await?;
    ensure!(status == 409, "{status}: {late}");
    settle(server, "ack", &again).await
}

async fn an_extended_lease_holds_its_delivery(server: &Server) -> Result<()> {
    post(server, "acme", "till", 1).await?;
    ready(server, "shop", 1).await?;
    let held = lease_for(server, 1_000, 0).await?;
    let extend = json!({"delivery_ids": [held[0]["delivery_id"]], "lease_ms": 60_000});
    let (status, extended) = server.post("/v1/queues/shop/extend", &extend).await?;
    ensure!(status == 200, "{status}: {extended}");
    let none = lease_for(server, 1_000, 2_000).await?;
    ensure!(none.is_empty(), "it was extended: {none:?}");
    settle(server, "ack", &held).await
}

async fn a_delay_is_kept(server: &Server) -> Result<()> {
    post(server, "acme", "till", 1).await?;
    ready(server, "shop", 1).await?;
    let got = lease(server, 1).await?;
    let begun = std::time::Instant::now();
    let nack = json!({"delivery_ids": [got[0]["delivery_id"]], "delay_ms": 1_500});
    let (status, answer) = server.post("/v1/queues/shop/nack", &nack).await?;
    ensure!(status == 200, "{status}: {answer}");
    let again = lease(server, 1).await?;
    let waited = begun.elapsed();
    ensure!(numbers(&again) == [1] && waited.as_millis() >= 1_500, "after {waited:?}: {again:?}");
    settle(server, "ack", &again).await
}

async fn a_key_is_with_one_consumer_at_a_time(server: &Server) -> Result<()> {
    for (key, n) in [("a", 1), ("a", 2), ("b", 3)] {
        post(server, "acme", key, n).await?;
    }
    ready(server, "shop", 3).await?;
    let first = lease(server, 1).await?;
    let second = lease(server, 1).await?;
    ensure!((numbers(&first), numbers(&second)) == (vec![1], vec![3]), "{first:?} {second:?}");
    let none = lease_for(server, 1_000, 300).await?;
    ensure!(none.is_empty(), "its key is with another: {none:?}");
    settle(server, "ack", &first).await?;
    let next = lease(server, 1).await?;
    ensure!(numbers(&next) == [2], "{next:?}");
    settle(server, "ack", &[second, next].concat()).await
}

async fn a_paused_queue_hands_out_nothing(server: &Server) -> Result<()> {
    let (status, paused) = server.post("/v1/queues/shop/pause", &json!({})).await?;
    ensure!(status < 300, "{status}: {paused}");
    post(server, "acme", "till", 1).await?;
    ready(server, "shop", 1).await?;
    let none = lease_for(server, 1_000, 300).await?;
    ensure!(none.is_empty(), "it is paused: {none:?}");
    let (status, resumed) = server.post("/v1/queues/shop/resume", &json!({})).await?;
    ensure!(status < 300, "{status}: {resumed}");
    let got = lease(server, 1).await?;
    ensure!(numbers(&got) == [1], "{got:?}");
    settle(server, "ack", &got).await
}

async fn a_replayed_dead_letter_comes_again(server: &Server) -> Result<()> {
    post(server, "acme", "till", 1).await?;
    ready(server, "shop", 1).await?;
    let got = lease(server, 1).await?;
    let nack = json!({"delivery_ids": [got[0]["delivery_id"]], "fail": true, "cause": "no"});
    let (status, answer) = server.post("/v1/queues/shop/nack", &nack).await?;
    ensure!(status == 200, "{status}: {answer}");
    let (status, replay) =
        server.post("/v1/dead/replay", &json!({"filter": {"queue": "shop"}, "rate": 100})).await?;
    ensure!(status == 202 && replay["matched"] == 1, "{status}: {replay}");
    let again = lease(server, 1).await?;
    ensure!(again[0]["event"]["eventid"] == got[0]["event"]["eventid"], "{again:?}");
    settle(server, "ack", &again).await
}

/// The next delivery of a stream.
async fn pushed(stream: &mut Stream) -> Result<Value> {
    Ok(tokio::time::timeout(PATIENCE, stream.delivery()).await.context("nothing is pushed")??.data)
}

async fn a_stream_of_events_pushes_what_settlements_free(server: &Server) -> Result<()> {
    for n in 0..4 {
        post(server, "acme", "till", n).await?;
    }
    ready(server, "shop", 4).await?;
    let mut stream = Stream::open(server, "/v1/queues/shop/stream?max=2").await?;
    let held = vec![pushed(&mut stream).await?, pushed(&mut stream).await?];
    ensure!(numbers(&held) == [0, 1], "{held:?}");
    let more = tokio::time::timeout(Duration::from_millis(300), stream.next()).await;
    ensure!(more.is_err(), "more than two: {more:?}");
    settle(server, "ack", &held[..1]).await?;
    let next = pushed(&mut stream).await?;
    ensure!(numbers(std::slice::from_ref(&next)) == [2], "{next}");
    // With it go those behind it, uncounted where nobody gave them back.
    settle(server, "nack", &held[1..]).await?;
    let again = vec![pushed(&mut stream).await?, pushed(&mut stream).await?];
    ensure!(numbers(&again) == [1, 2] && again[0]["attempt"] == 2, "{again:?}");
    settle(server, "ack", &again).await?;
    let last = pushed(&mut stream).await?;
    settle(server, "ack", &[last]).await?;
    // What the broker brings later is pushed, too.
    post(server, "acme", "till", 4).await?;
    let late = pushed(&mut stream).await?;
    ensure!(numbers(std::slice::from_ref(&late)) == [4], "{late}");
    settle(server, "ack", &[late]).await
}

async fn a_web_socket_hands_out_what_its_credit_allows(server: &Server) -> Result<()> {
    for n in 0..4 {
        post(server, "acme", "till", n).await?;
    }
    ready(server, "shop", 4).await?;
    let mut socket = Socket::open(server, "/v1/queues/shop/ws").await?;
    socket.say(&json!({"credit": 2})).await?;
    let held = vec![socket.delivery().await?, socket.delivery().await?];
    ensure!(numbers(&held) == [0, 1], "{held:?}");
    socket.silence().await?;
    socket.ack(&held[0]).await?;
    let acked = socket.hear().await?;
    ensure!(acked == json!({"acked": [held[0]["delivery_id"]], "errors": []}), "{acked}");
    socket.say(&json!({"credit": 1})).await?;
    let next = socket.delivery().await?;
    ensure!(numbers(std::slice::from_ref(&next)) == [2], "{next}");
    // Whoever ends without a word leaves what it had to others.
    drop(socket);
    let mut other = Socket::open(server, "/v1/queues/shop/ws").await?;
    other.say(&json!({"credit": 10})).await?;
    let mut again = Vec::new();
    for _ in 0..3 {
        again.push(other.delivery().await?);
    }
    ensure!(numbers(&again) == [1, 2, 3] && again[0]["attempt"] == 2, "{again:?}");
    post(server, "acme", "till", 4).await?;
    // A key goes on with who holds it.
    again.push(other.delivery().await?);
    ensure!(numbers(&again[3..]) == [4], "{again:?}");
    settle(server, "ack", &again).await
}
