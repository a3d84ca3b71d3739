//! One client with 100,000 waiting events and another with one: the one is next.

use anyhow::{Context, Result, ensure};
use orderwire_e2e::{Server, Start};
use serde_json::json;

#[tokio::test]
async fn a_single_event_does_not_wait_behind_100_000_of_another_client() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&folder.path().join("data"), &Start::default())?;
    let (status, answer) = server.post("/v1/queues", &json!({"name": "fair", "types": ["fair.#"]})).await?;
    ensure!(status < 300, "{status}: {answer}");
    let line = "{\"client\":\"busy\",\"n\":1}\n";
    for _ in 0..20 {
        let response = server
            .http
            .post(format!("{}/v1/events/fair.a", server.url))
            .header("content-type", "application/x-ndjson")
            .body(line.repeat(5_000))
            .send()
            .await?;
        let status = response.status();
        ensure!(status == 202, "{status}: {}", response.text().await?);
    }
    // The busy client has been served before, so that it is not merely new.
    let first = lease(&server).await?;
    ensure!(first["event"]["client"] == "busy", "{first}");
    server.post("/v1/queues/fair/ack", &json!({"delivery_ids": [first["delivery_id"]]})).await?;

    let (status, answer) = server.post("/v1/events/fair.a", &json!({"client": "quiet", "n": 2})).await?;
    ensure!(status == 202, "{status}: {answer}");
    let next = lease(&server).await?;
    ensure!(next["event"]["client"] == "quiet", "{next}");
    let queue = server.get("/v1/queues/fair").await?;
    ensure!(queue["ready"] == 99_999 && queue["in_flight"] == 1, "{queue}");
    ensure!(server.stop()?.success());
    Ok(())
}

async fn lease(server: &Server) -> Result<serde_json::Value> {
    let (status, leased) =
        server.post("/v1/queues/fair/lease", &json!({"max": 1, "lease_ms": 60_000})).await?;
    ensure!(status == 200, "{status}: {leased}");
    leased["deliveries"].get(0).cloned().context("one delivery")
}
