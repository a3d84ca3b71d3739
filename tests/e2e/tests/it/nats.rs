//! NATS between producers and the queues: what is particular to it, and its going away.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use orderwire_e2e::nats::Nats;
use orderwire_e2e::{PATIENCE, Server, Start};
use serde_json::{Value, json};

use crate::broker::{behind, consume, event};
use crate::under_load::{nothing_is_lost_or_doubled, under_load, until_more_come};

/// 500 events a second, 20 restarts of the server under them, every second one by SIGKILL.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_restarts_of_nats_lose_nothing_and_double_nothing() -> Result<()> {
    let (mut nats, folder) = (Nats::started()?, tempfile::tempdir()?);
    let server = Arc::new(behind(&nats.url(), folder.path(), "")?);
    let acknowledged = under_load(&server, || {
        for round in 0..20 {
            until_more_come(&server, 200)?;
            if round % 2 == 0 {
                nats.kill()?;
            } else {
                nats.stop()?;
            }
            nats.start()?;
        }
        Ok(())
    });
    let acknowledged = acknowledged.await?;
    nothing_is_lost_or_doubled(&server, &acknowledged, || nats.unacked("shop")).await
}

/// The server that leads the stream is killed; the two others go on, and it comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_leader_is_killed_under_load_loses_nothing_and_doubles_nothing() -> Result<()> {
    let (mut cluster, folder) = (Nats::cluster()?, tempfile::tempdir()?);
    let urls: Vec<String> = cluster.iter().map(Nats::url).collect();
    let more = "broker: {nats: {replicas: 3, bytes: 100MiB}}\n";
    let server = Arc::new(behind(&urls.join(","), folder.path(), more)?);
    let acknowledged = under_load(&server, || {
        // The stream is there then.
        until_more_come(&server, 500)?;
        let leader = cluster[0].leader()?;
        cluster[leader].kill()?;
        // Not only into the spool.
        until_more_come(&server, 500)?;
        cluster[leader].start()?;
        until_more_come(&server, 500)
    });
    let acknowledged = acknowledged.await?;
    nothing_is_lost_or_doubled(&server, &acknowledged, || cluster[0].unacked("shop")).await
}

#[tokio::test]
async fn a_nats_that_is_away_is_waited_for_and_nothing_is_lost() -> Result<()> {
    let (mut nats, folder) = (Nats::new()?, tempfile::tempdir()?);
    let server = behind(&nats.url(), folder.path(), "")?;
    for n in 0..30 {
        let (status, answer) = server.post("/v1/events", &event(n)).await?;
        ensure!(status == 202, "{status}: {answer}");
    }
    let broker = |ready: &Value| ready["components"].to_string();
    let ready = server.get("/readyz").await?;
    ensure!(ready["status"] == "ready" && broker(&ready).contains("31 events wait"), "{ready}");
    nats.start()?;
    let (order, seen) = consume(&server, 0..30).await?;
    ensure!(order == (0..30).collect::<Vec<u64>>(), "{order:?}");
    ensure!(seen.values().all(|times| *times == 1), "{seen:?}");
    Ok(())
}

/// Other people's consumers pull a native queue, and their producers write to a queue by its
/// name, both without a word of ours.
#[tokio::test]
async fn others_feed_a_queue_by_its_name_and_pull_a_native_one() -> Result<()> {
    let (nats, folder) = (Nats::started()?, tempfile::tempdir()?);
    let native = "  clients: {native: true, format: flat}\n";
    let server = behind(&nats.url(), folder.path(), native)?;
    let deadline = Instant::now() + PATIENCE;
    // The queue is made by its intake.
    while nats.unacked("shop").is_err() || nats.unacked("clients").is_err() {
        ensure!(Instant::now() < deadline, "the queues were never made");
    }
    let sold = json!({"specversion": "1.0", "id": "1", "source": "/till", "type": "shop.sold", "client": "acme",
                      "data": {"n": 7}});
    nats.publish("orderwire.queue.shop", &sold.to_string())?;
    nats.publish("orderwire.queue.shop", "no event")?;
    consume(&server, [7]).await?;
    server.until("/v1/queues/shop", |queue| queue["dead"] == 1).await?;
    // The announcement of the client, which is a queue with a worker of its own.
    let told = nats.pull("clients")?;
    ensure!(told["client"] == "acme" && told["trace_id"].is_string(), "{told}");
    server.until("/v1/clients/acme", |client| client["client"] == "acme").await?;
    Ok(())
}

#[tokio::test]
async fn a_password_of_the_environment_lets_in_and_a_wrong_one_is_told() -> Result<()> {
    let password = "s@fe, and: more/";
    let nats = Nats::started_for("anna", password)?;
    let url = nats.url().replace("nats://", "nats://anna:${SHOP_NATS}@");
    let start = |folder: &Path, password: &str| {
        let config = folder.join("orderwire.yaml");
        std::fs::write(
            &config,
            format!("broker: {{url: '{url}'}}\nqueues: {{shop: {{types: ['shop.#']}}}}\n"),
        )?;
        let flags = vec!["--config".to_owned(), config.to_string_lossy().into_owned()];
        let env = vec![("SHOP_NATS".to_owned(), password.to_owned())];
        Server::start(&folder.join("data"), &Start { flags, env, ..Start::default() })
    };
    let (right, wrong) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let server = start(right.path(), password)?;
    server.post("/v1/events", &event(1)).await?;
    consume(&server, [1]).await?;
    let refused = start(wrong.path(), "guessed")?;
    let (status, answer) = refused.post("/v1/events", &event(1)).await?;
    ensure!(status == 202, "{status}: {answer}");
    let told =
        |ready: &Value| ready["components"].to_string().to_lowercase().contains("authorization violation");
    let ready = refused.until("/readyz", told).await?;
    ensure!(!ready.to_string().contains("guessed"), "{ready}");
    Ok(())
}
