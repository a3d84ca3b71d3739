//! Callers who go away while the store reads for them.

use std::iter::successors;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use orderwire_e2e::postgres::Postgres;
use orderwire_e2e::{PATIENCE, Server, Start};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::postgres::on;

/// More than either store reads at once.
const READS: usize = 40;

/// When the server itself ends a read.
const TIME_OUT: Duration = Duration::from_secs(10);

/// An expression that goes through texts of these letters in more states than an engine keeps.
const COSTLY: &str = "a%5Bab%5D%7B200%7Dc";

async fn ask(server: &Server, query: &str) -> Result<Value> {
    let asked = server.http.get(format!("{}/rest/slow?select=n&{query}", server.url));
    let answer = asked.header("cache-control", "no-store").send().await?;
    Ok(answer.error_for_status()?.json().await?)
}

/// Has everything that reads be busy for callers, who then go away.
async fn gone(start: &Start) -> Result<Server> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&folder.path().join("data"), start)?;
    let def = json!({"fields": [{"name": "n", "type": "integer"}, {"name": "t", "type": "text"}]});
    let (status, answer) = server.send(Method::PUT, "/v1/datasets/slow", &def).await?;
    ensure!(status == 201, "{status}: {answer}");
    // Letters as good as chance, so that no row is like another one.
    let numbers = successors(Some(1_u32), |n| Some(n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)));
    let mut letters = numbers.map(|n| if n >> 31 == 0 { 'a' } else { 'b' });
    for n in 0..12 {
        let mut row = |i| json!({"n": 40 * n + i, "t": letters.by_ref().take(20_000).collect::<String>()});
        let rows: Vec<Value> = (0..40).map(&mut row).collect();
        let (status, answer) = server.post("/v1/datasets/slow/rows", &json!(rows)).await?;
        ensure!(status == 202, "{status}: {answer}");
    }
    server.until("/v1/queues/data", |queue| queue["ready"] == 0 && queue["in_flight"] == 0).await?;

    let began = Instant::now();
    let mut callers = JoinSet::new();
    for n in 0..READS {
        let costly = format!("{}/rest/slow?select=n&n=neq.{n}&t=match.{COSTLY}", server.url);
        callers.spawn(server.http.get(costly).header("cache-control", "no-store").send());
    }
    let one = || ask(&server, "n=eq.1");
    while tokio::time::timeout(Duration::from_secs(1), one()).await.is_ok() {
        ensure!(began.elapsed() < TIME_OUT, "reads hold nobody up");
    }
    callers.shutdown().await;
    ensure!(one().await? == json!([{"n": 1}]));
    ensure!(began.elapsed() < TIME_OUT - Duration::from_secs(2), "it took {:?}", began.elapsed());
    Ok(server)
}

#[tokio::test]
async fn a_read_ends_when_its_caller_goes_away() -> Result<()> {
    ensure!(gone(&Start::default()).await?.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_read_ends_at_a_postgresql_when_its_caller_goes_away() -> Result<()> {
    let postgres = Postgres::started()?;
    let server = gone(&on(&postgres)).await?;
    let reads = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%FROM data.\"slow\"%' \
                 AND pid <> pg_backend_pid()";
    let began = Instant::now();
    while postgres.ask("orderwire", reads)? != "0" {
        ensure!(began.elapsed() < Duration::from_secs(3), "they go on at the server");
    }
    // And of callers who share one read, the last one ends it.
    let held = postgres.hold("orderwire", "LOCK TABLE data.slow IN ACCESS EXCLUSIVE MODE")?;
    let ask = || tokio::spawn(server.http.get(format!("{}/rest/slow?select=n&limit=3", server.url)).send());
    let (first, second) = (ask(), ask());
    let until = async |count: &str| {
        let began = Instant::now();
        while postgres.ask("orderwire", reads)? != count {
            ensure!(began.elapsed() < PATIENCE, "never {count}");
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    until("1").await?;
    first.abort();
    second.abort();
    let began = Instant::now();
    until("0").await?;
    // The server would end it, which waits for a lock, after 5 s.
    ensure!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    drop(held);
    ensure!(server.stop()?.success());
    Ok(())
}
