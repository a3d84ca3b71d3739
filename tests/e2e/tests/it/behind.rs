//! What a task queue promises, without a broker and behind each: the same cases, because
//! a broker only transports.

use std::any::Any;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use orderwire_e2e::rabbit::Rabbit;
use orderwire_e2e::{Server, Start};
use serde_json::{Value, json};

/// A world: a server, and what has to live as long.
struct World {
    server: Server,
    _broker: Box<dyn Any>,
}

fn embedded(folder: &Path) -> Result<World> {
    Ok(World { server: start(folder, None)?, _broker: Box::new(()) })
}

fn rabbitmq(folder: &Path) -> Result<World> {
    let rabbit = Rabbit::started()?;
    Ok(World { server: start(folder, Some(rabbit.url()))?, _broker: Box::new(rabbit) })
}

fn start(folder: &Path, broker: Option<String>) -> Result<Server> {
    let config = folder.join("orderwire.yaml");
    std::fs::write(
        &config,
        "queues:\n  shop: {types: ['shop.#'], attempts: 2, backoff: {first: 1ms, last: 1ms}}\n  \
         copy: {types: ['shop.*.sold', 'other.#']}\n",
    )?;
    let flags = vec!["--config".to_owned(), config.to_string_lossy().into_owned()];
    let env = broker.map(|url| ("ORDERWIRE__BROKER__URL".to_owned(), url)).into_iter().collect();
    Server::start(&folder.join("data"), &Start { flags, env, ..Start::default() })
}

macro_rules! cases {
    ($($case:ident)+) => {
        mod in_the_embedded_world { $(#[tokio::test] async fn $case() -> anyhow::Result<()> { super::run(super::embedded, super::$case).await })+ }
        mod behind_rabbitmq { $(#[tokio::test] async fn $case() -> anyhow::Result<()> { super::run(super::rabbitmq, super::$case).await })+ }
    };
}

cases! {
    events_of_a_key_come_in_order_and_once
    clients_take_turns
    a_failed_delivery_comes_again_and_then_is_a_dead_letter
    events_fan_out_by_their_type
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
