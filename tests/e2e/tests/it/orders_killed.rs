//! Orderwire is killed with SIGKILL at every step of an order; the next one
//! goes on, with each process there once.

use anyhow::{Context, Result, ensure};
use orderwire_e2e::{Server, Start, processes};
use serde_json::json;

use crate::orders::{is_final, is_valid_of_release, ordered, text, valid_release_keys};

/// Kills at the moment that the watch of an order tells a step and outcome.
const STEPS: [(&str, &str); 8] = [
    ("plan", "begun"),
    ("plan", "done"),
    ("prepare", "begun"),
    ("prepare", "done"),
    ("apply", "begun"),
    ("apply", "done"),
    ("wait", "begun"),
    ("settle", "begun"),
];

/// Reads lines of a body until one is as wanted or the body ends; whether one was.
async fn lines_until(mut body: reqwest::Response, wanted: impl Fn(&str) -> bool) -> bool {
    let mut rest = String::new();
    // A server that is killed meanwhile ends the body with an error.
    while let Ok(Some(chunk)) = body.chunk().await {
        rest.push_str(&String::from_utf8_lossy(&chunk));
        while let Some((line, after)) = rest.split_once('\n') {
            if wanted(line) {
                return true;
            }
            rest = after.to_owned();
        }
    }
    false
}

#[tokio::test]
async fn killed_at_any_step_an_order_is_finished_by_the_next_start() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let mut server = Server::start(&data, &Start::default())?;
    let mut revision = 0;
    for (n, (step, outcome)) in STEPS.into_iter().enumerate() {
        let order = json!({"client": "acme", "product": "sensor", "parameters": {"interval_ms": 100 + n}});
        let (status, accepted) = server.post("/v1/orders", &order).await?;
        ensure!(status == 202, "{accepted}");
        let path = text(&accepted, "status_url")?.to_owned();
        let watch = server.http.get(format!("{}{path}/watch", server.url)).send().await?;
        let told = |line: &str| {
            line.contains(&format!("\"step\":\"{step}\""))
                && line.contains(&format!("\"outcome\":\"{outcome}\""))
        };
        let seen = lines_until(watch, told).await;
        ensure!(seen, "{step} {outcome} was never told");
        server.kill()?;
        processes::until_none(&data)?;

        server = Server::start(&data, &Start::default())?;
        let order = server.until(&path, is_final).await?;
        ensure!(order["state"] == "ready", "after {step} {outcome}: {order}");
        revision += 1;
        ensure!(order["revision"] == revision, "after {step} {outcome}: {order}");
        one_copy_runs(&server, text(&order, "release_id")?, &format!("after {step} {outcome}")).await?;
    }
    // And while it is removed.
    let release = server.get("/v1/releases").await?["items"][0].clone();
    let id = text(&release, "release_id")?.to_owned();
    let (_, accepted) =
        server.send(reqwest::Method::DELETE, &format!("/v1/releases/{id}"), &serde_json::Value::Null).await?;
    server.kill()?;
    server = Server::start(&data, &Start::default())?;
    let order = server.until(text(&accepted, "status_url")?, is_final).await?;
    ensure!(order["state"] == "removed", "{order}");
    processes::until_none(&data)?;
    ensure!(valid_release_keys(&server).await?.is_empty());
    Ok(())
}

/// One supervised process of the sensor, one valid key, and rows that arrive with it.
async fn one_copy_runs(server: &Server, release: &str, when: &str) -> Result<()> {
    let copies = processes::until_running(release, "sensor", |count| count > 0)?;
    ensure!(copies.len() == 1, "{when}: {copies:?}");
    // What brought it back has made its key by then, and the others end with it.
    server
        .until("/v1/keys", |keys| {
            keys["items"]
                .as_array()
                .is_some_and(|keys| keys.iter().filter(|key| is_valid_of_release(key)).count() == 1)
        })
        .await
        .with_context(|| when.to_owned())?;
    let newest = "/rest/air?select=_recorded_at&order=_recorded_at.desc&limit=1";
    let before = server.get(newest).await?;
    server.until(newest, |rows| *rows != before).await.with_context(|| when.to_owned())?;
    let copies = processes::running(release, "sensor")?;
    ensure!(copies.len() == 1, "{when}: {copies:?}");
    Ok(())
}

#[tokio::test]
async fn what_was_running_is_brought_back_after_a_kill_and_after_a_stop() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let mut server = Server::start(&data, &Start::default())?;
    let ready = ordered(
        &server,
        &json!({"client": "acme", "product": "broken", "parameters": {"how": "leaves-children"}}),
    )
    .await?;
    ensure!(ready["state"] == "ready", "{ready}");
    let release = text(&ready, "release_id")?.to_owned();
    for stop in [false, true] {
        let before = processes::until_count(&release, |count| count > 0)?;
        if stop {
            ensure!(server.stop()?.success());
            ensure!(processes::of_data(&data)?.is_empty(), "a drain leaves nothing running");
        } else {
            server.kill()?;
            processes::until_none(&data)?;
        }
        server = Server::start(&data, &Start::default())?;
        server.until(&format!("/v1/releases/{release}"), |release| release["state"] == "ready").await?;
        let after = processes::until_count(&release, |count| count > 0)?;
        ensure!(after.iter().all(|pid| !before.contains(pid)), "{before:?} {after:?}");
        ensure!(valid_release_keys(&server).await?.len() <= 1);
    }
    Ok(())
}
