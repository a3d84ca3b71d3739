//! A queue file that was lost, with the store kept: what is posted from then
//! on is recorded as ever.

use anyhow::{Result, ensure};
use orderwire_e2e::{Server, Start};
use reqwest::Method;
use serde_json::{Value, json};

const ROWS: usize = 5;

#[tokio::test]
async fn rows_are_recorded_after_the_queue_was_lost() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let server = Server::start(&data, &Start::default())?;
    let dataset = json!({"fields": [{"name": "n", "type": "integer"}]});
    let (status, answer) = server.send(Method::PUT, "/v1/datasets/lost", &dataset).await?;
    ensure!(status < 300, "{status}: {answer}");
    post(&server, 0).await?;
    recorded(&server, 1).await?;
    ensure!(server.stop()?.success());

    let mut removed = 0;
    for entry in std::fs::read_dir(&data)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("queue.db") {
            std::fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    ensure!(removed > 0, "there was no queue to lose");

    let server = Server::start(&data, &Start::default())?;
    post(&server, 1).await?;
    recorded(&server, 2).await?;
    ensure!(server.stop()?.success());

    let server = Server::start(&data, &Start::default())?;
    post(&server, 2).await?;
    recorded(&server, 3).await?;
    ensure!(server.stop()?.success());
    Ok(())
}

async fn post(server: &Server, round: usize) -> Result<()> {
    for n in 0..ROWS {
        let (status, answer) = server.post("/v1/datasets/lost/rows", &json!({"n": round * ROWS + n})).await?;
        ensure!(status == 202, "{status}: {answer}");
    }
    Ok(())
}

/// Returns when the rows of so many rounds are there, each once.
async fn recorded(server: &Server, rounds: usize) -> Result<()> {
    let all: Vec<Value> = (0..rounds * ROWS).map(|n| json!({"n": n})).collect();
    server.until("/rest/lost?select=n&order=n", |rows| *rows == Value::Array(all.clone())).await?;
    Ok(())
}
