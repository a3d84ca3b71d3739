//! A cache in Redis that goes away, hangs, is full, and comes back.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::redis::Redis;
use orderwire_e2e::{PATIENCE, Server, Start};
use reqwest::Method;
use serde_json::{Value, json};

/// A server with a Redis, and the numbers of the rows that are recorded.
struct Cached {
    server: Server,
    start: Start,
    rows: Vec<u64>,
}

impl Cached {
    async fn started(folder: &Path, redis: &Redis) -> Result<Self> {
        let env = vec![("ORDERWIRE__CACHE__URL".to_owned(), redis.url())];
        let start = Start { env, ..Start::default() };
        let server = Server::start(&folder.join("data"), &start)?;
        let def = json!({"fields": [{"name": "n", "type": "integer"}]});
        let (status, answer) = server.send(Method::PUT, "/v1/datasets/d", &def).await?;
        ensure!(status == 201, "{status}: {answer}");
        let mut cached = Self { server, start, rows: Vec::new() };
        cached.metric("orderwire_cache_connected", |value| value == 1.0).await?;
        cached.record().await?;
        Ok(cached)
    }

    /// The same server with nothing in its own memory.
    async fn again(self, folder: &Path) -> Result<Self> {
        ensure!(self.server.stop()?.success());
        let server = Server::start(&folder.join("data"), &self.start)?;
        Ok(Self { server, ..self })
    }

    /// Records one row more.
    async fn record(&mut self) -> Result<()> {
        let n = self.rows.len() as u64;
        let (status, answer) = self.server.post("/v1/datasets/d/rows", &json!({"n": n})).await?;
        ensure!(status == 202, "{status}: {answer}");
        self.rows.push(n);
        self.ready().await?;
        let limit = self.rows.len();
        // Behind a limit of its own, so that it is no question of the tests.
        let all = format!("/rest/d?order=n&limit={}", limit + 1_000);
        self.server.until(&all, |rows| rows.as_array().is_some_and(|rows| rows.len() == limit)).await?;
        Ok(())
    }

    /// Asks for all rows, which have to be right, in a question that has this number; where the
    /// answer is from.
    async fn ask(&self, question: u64) -> Result<String> {
        let url = format!("{}/rest/d?select=n&order=n&n=neq.{}", self.server.url, 1_000_000 + question);
        let answer = self.server.http.get(url).send().await?.error_for_status()?;
        let source = answer.headers()["cache-status"].to_str()?.to_owned();
        let rows: Vec<Value> = answer.json().await?;
        let found: Vec<u64> = rows.iter().filter_map(|row| row["n"].as_u64()).collect();
        ensure!(found == self.rows, "question {question}: {found:?} instead of {:?}", self.rows);
        Ok(source)
    }

    /// A server is ready without its cache.
    async fn ready(&self) -> Result<()> {
        let ready = self.server.http.get(format!("{}/readyz", self.server.url)).send().await?;
        ensure!(ready.status() == 200, "{}", ready.text().await?);
        Ok(())
    }

    /// Waits until a metric has such a value. Reads go on meanwhile, which are how the end of a
    /// Redis is noticed.
    async fn metric(&self, name: &str, wanted: impl Fn(f64) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.server.http.get(format!("{}/metrics", self.server.url)).send().await?;
            let metrics = metrics.error_for_status()?.text().await?;
            let values = metrics.lines().filter(|line| line.starts_with(name));
            let values: Vec<f64> = values.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect();
            if values.iter().copied().any(&wanted) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{name} is never as wanted: {values:?}");
            // What nobody has asked before.
            self.ask(fresh()).await?;
            // tidy: sleep because the condition is behind HTTP and is asked for again
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The number of a question that nobody has asked before.
fn fresh() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

const MISS: &str = "orderwire; fwd=miss";
const HIT: &str = "orderwire; hit";

#[tokio::test]
async fn a_redis_that_goes_and_comes_costs_no_answer() -> Result<()> {
    let Some(mut redis) = Redis::started(&[])? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let cached = Cached::started(folder.path(), &redis).await?;
    ensure!(cached.ask(1).await? == MISS);
    let mut cached = cached.again(folder.path()).await?;
    cached.metric("orderwire_cache_connected", |value| value == 1.0).await?;
    ensure!(cached.ask(1).await? == HIT, "it is kept beyond the process");

    redis.stop()?;
    cached.metric("orderwire_cache_connected", |value| value == 0.0).await?;
    cached.metric("orderwire_query_cache_errors_total", |value| value > 0.0).await?;
    cached.ready().await?;
    ensure!(
        cached.ask(2).await? == MISS && cached.ask(2).await? == HIT,
        "the process has a cache of its own"
    );
    cached.record().await?;
    ensure!(cached.ask(1).await? == MISS, "what changed meanwhile");

    redis.start()?;
    cached.metric("orderwire_cache_connected", |value| value == 1.0).await?;
    ensure!(cached.ask(3).await? == MISS);
    let mut cached = cached.again(folder.path()).await?;
    cached.metric("orderwire_cache_connected", |value| value == 1.0).await?;
    ensure!(cached.ask(3).await? == HIT, "it is used again");

    // One that hangs still has what was right before the last row.
    redis.hang()?;
    cached.metric("orderwire_cache_connected", |value| value == 0.0).await?;
    cached.record().await?;
    redis.go_on()?;
    cached.metric("orderwire_cache_connected", |value| value == 1.0).await?;
    let cached = cached.again(folder.path()).await?;
    cached.metric("orderwire_cache_connected", |value| value == 1.0).await?;
    ensure!(cached.ask(3).await? == MISS, "it is of before the last row");
    ensure!(cached.server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_redis_that_is_full_costs_no_answer() -> Result<()> {
    let Some(redis) = Redis::started(&["--maxmemory-policy", "noeviction"])? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let mut cached = Cached::started(folder.path(), &redis).await?;
    ensure!(cached.ask(1).await? == MISS);
    redis.ask(&["config", "set", "maxmemory", "1mb"])?;
    cached.metric("orderwire_query_cache_errors_total{operation=\"put\"}", |value| value > 0.0).await?;
    ensure!(cached.ask(2).await? == MISS);
    cached.ready().await?;
    let says = "the cache keeps nothing new; reads go to the store";
    ensure!(cached.server.log()?.contains(says), "{}", cached.server.log()?);

    cached = cached.again(folder.path()).await?;
    cached.metric("orderwire_cache_connected", |value| value == 1.0).await?;
    ensure!(cached.ask(1).await? == HIT, "what it has is handed out");
    ensure!(cached.ask(2).await? == MISS, "it was not kept");
    cached.record().await?;
    ensure!(cached.ask(1).await? == MISS && cached.ask(1).await? == HIT, "the process keeps it");

    redis.ask(&["config", "set", "maxmemory", "0"])?;
    let deadline = Instant::now() + PATIENCE;
    while !cached.server.log()?.contains("the cache keeps entries again") {
        ensure!(Instant::now() < deadline, "{}", cached.server.log()?);
        cached.ask(fresh()).await?;
    }
    ensure!(cached.ask(3).await? == MISS);
    let cached = cached.again(folder.path()).await.context("with space")?;
    cached.metric("orderwire_cache_connected", |value| value == 1.0).await?;
    ensure!(cached.ask(3).await? == HIT, "it keeps again");
    ensure!(cached.server.stop()?.success());
    Ok(())
}
