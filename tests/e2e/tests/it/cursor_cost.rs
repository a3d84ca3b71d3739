//! What a page far behind costs a PostgreSQL.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::postgres::Postgres;
use orderwire_e2e::{PATIENCE, Server};
use serde_json::{Value, json};

use crate::explained::{explain, reads};
use crate::postgres::on;

/// How many rows page 10,000 of ten has before it.
const BEFORE: usize = 100_000;

/// So often is each page read: after five times a server may choose another plan, for any values.
const TIMES: usize = 8;

/// More rows than pages are read of, the next two of each second, of three stations.
const ROWS: &str = r#"INSERT INTO data.air
    (_seq, _client, _event_id, _trace_id, _recorded_at, "TimeInstant", id_entity, n)
    SELECT n, 'default', gen_random_uuid(), gen_random_uuid(), now(),
           timestamptz '2026-01-01' + n / 2 * interval '1 second', 's' || n % 3, n
    FROM generate_series(1, 120000) AS n; ANALYZE data.air"#;

#[tokio::test]
async fn page_ten_thousand_reads_as_many_blocks_as_page_one_on_a_postgresql() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let postgres = Postgres::started()?;
    explain(&postgres)?;
    let server = Server::start(&folder.path().join("data"), &on(&postgres))?;
    let def = json!({"fields": [
        {"name": "TimeInstant", "type": "timestamp", "required": true},
        {"name": "id_entity", "type": "text", "required": true}, {"name": "n", "type": "integer"}],
        "key": ["id_entity", "TimeInstant"], "time": "TimeInstant"});
    let (status, answer) = server.send(reqwest::Method::PUT, "/v1/datasets/air", &def).await?;
    ensure!(status == 201, "{status}: {answer}");
    postgres.ask("orderwire", ROWS)?;

    for client in [None, Some("default")] {
        for order in ["", "&order=TimeInstant", "&order=TimeInstant.desc", "&order=id_entity,TimeInstant"] {
            // The rows of a page, where the next one begins, and what it costs at most.
            let page = async |limit: usize, cursor: &str, times: usize| -> Result<(u64, String)> {
                let url = format!("{}/rest/air?select=n{order}&limit={limit}&cursor={cursor}", server.url);
                let before = costs(&postgres)?.len();
                let mut next = None;
                for _ in 0..times {
                    let mut request = server.http.get(&url).header("cache-control", "no-store");
                    if let Some(client) = client {
                        request = request.header("orderwire-client", client);
                    }
                    let response = request.send().await?.error_for_status()?;
                    next = response.headers().get("orderwire-next").cloned();
                    let rows: Vec<Value> = response.json().await?;
                    ensure!(rows.len() == limit, "{} rows", rows.len());
                }
                // The server writes it down after the last row was sent.
                let began = Instant::now();
                let cost = loop {
                    let costs = costs(&postgres)?;
                    if costs.len() == before + times {
                        break costs[before..].iter().copied().max().unwrap_or_default();
                    }
                    ensure!(began.elapsed() < PATIENCE, "{} of {times} statements", costs.len() - before);
                    // tidy: sleep because the log of another process is read again
                    tokio::time::sleep(Duration::from_millis(10)).await;
                };
                Ok((cost, next.context("there are more rows")?.to_str()?.to_owned()))
            };
            let (first, _) = page(10, "start", TIMES).await?;
            let (_, next) = page(BEFORE, "start", 1).await?;
            let (far, _) = page(10, &next, TIMES).await?;
            println!("{client:?} {order:?}: {first} blocks, then {far}");
            ensure!(first > 0 && far <= 2 * first, "{client:?} {order:?}: {first} blocks, then {far}");
        }
    }
    ensure!(server.stop()?.success());
    Ok(())
}

/// How many blocks each read of the dataset took, one after the other.
fn costs(postgres: &Postgres) -> Result<Vec<u64>> {
    let cost = |read: Value| {
        let blocks = |name: &str| read["Plan"][name].as_u64().context("blocks");
        Ok(blocks("Shared Hit Blocks")? + blocks("Shared Read Blocks")?)
    };
    reads(postgres, "air")?.into_iter().map(cost).collect()
}
