//! The end of a server: nobody holds it up by waiting.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use orderwire_e2e::{Server, Start};
use serde_json::json;

#[tokio::test]
async fn a_long_poll_does_not_hold_up_the_end() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&folder.path().join("data"), &Start::default())?;
    let (status, answer) = server.post("/v1/queues", &json!({"name": "idle", "types": ["idle.#"]})).await?;
    ensure!(status < 300, "{status}: {answer}");
    let request = |wait_ms| {
        server
            .http
            .post(format!("{}/v1/queues/idle/lease", server.url))
            .json(&json!({"wait_ms": wait_ms}))
            .send()
    };
    let poll = tokio::spawn(request(60_000));
    // A request that came later was answered, so the poll is under way: its
    // body was sent before, on a connection of its own.
    ensure!(request(200).await?.status() == 200);
    ensure!(!poll.is_finished(), "the poll did not wait");
    let begin = Instant::now();
    server.signal("TERM")?;
    let status = server.wait()?;
    ensure!(status.success(), "{status}");
    ensure!(begin.elapsed() < Duration::from_secs(3), "the end took {:?}", begin.elapsed());
    ensure!(poll.await??.status() == 200, "the poll was cut off");
    Ok(())
}
