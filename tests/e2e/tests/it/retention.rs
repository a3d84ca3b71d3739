//! Rows that are past their retention go, however often the server is restarted.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use orderwire_e2e::{Server, Start};
use reqwest::Method;
use serde_json::json;

use crate::postgres::both_stores;

/// Less than the minute between two sweeps.
const FIRST: Duration = Duration::from_secs(45);

both_stores! { a_start_sweeps_at_once }

async fn a_start_sweeps_at_once(start: &Start) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let server = Server::start(&data, start)?;
    let dataset = json!({
        "fields": [{"name": "at", "type": "timestamp", "required": true}],
        "time": "at",
        "retention": "1m",
    });
    let (status, answer) = server.send(Method::PUT, "/v1/datasets/old", &dataset).await?;
    ensure!(status < 300, "{status}: {answer}");
    let (status, answer) =
        server.post("/v1/datasets/old/rows", &json!({"at": "2026-01-01T00:00:00Z"})).await?;
    ensure!(status == 202, "{status}: {answer}");
    server.until("/rest/old", |rows| rows.as_array().is_some_and(|rows| rows.len() == 1)).await?;
    ensure!(server.stop()?.success());

    let started = Instant::now();
    let server = Server::start(&data, start)?;
    server.until("/rest/old", |rows| *rows == json!([])).await?;
    ensure!(started.elapsed() < FIRST, "it was gone after {:?} only", started.elapsed());
    ensure!(server.stop()?.success());
    Ok(())
}
