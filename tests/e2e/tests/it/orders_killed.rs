//! Orderwire is killed with SIGKILL at every step of an order; the next one
//! goes on, with each process there once.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use orderwire_e2e::{Server, Start, processes};
use reqwest::Method;
use serde_json::{Value, json};

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
        told(&server, &path, step, outcome).await?;
        server = killed(server, &data)?;
        let order = server.until(&path, is_final).await?;
        ensure!(order["state"] == "ready", "after {step} {outcome}: {order}");
        revision += 1;
        ensure!(order["revision"] == revision, "after {step} {outcome}: {order}");
        one_copy_runs(&server, text(&order, "release_id")?, &format!("after {step} {outcome}")).await?;
    }
    // And before the removal has begun, or when it has.
    let release = server.get("/v1/releases").await?["items"][0].clone();
    let id = text(&release, "release_id")?.to_owned();
    let (_, accepted) = server.send(Method::DELETE, &format!("/v1/releases/{id}"), &Value::Null).await?;
    server = killed(server, &data)?;
    removed(&server, &data, text(&accepted, "status_url")?).await
}

/// Waits until the watch of an order tells a step and its outcome.
async fn told(server: &Server, path: &str, step: &str, outcome: &str) -> Result<()> {
    let watch = server.http.get(format!("{}{path}/watch", server.url)).send().await?;
    let (step, outcome) = (format!("\"step\":\"{step}\""), format!("\"outcome\":\"{outcome}\""));
    let seen = lines_until(watch, |line| line.contains(&step) && line.contains(&outcome)).await;
    ensure!(seen, "{step} {outcome} was never told");
    Ok(())
}

/// Kills the server, and starts another one when nothing of it runs any more.
fn killed(server: Server, data: &Path) -> Result<Server> {
    server.kill()?;
    processes::until_none(data)?;
    Server::start(data, &Start::default())
}

/// Waits for the end of a removal, which leaves nothing.
async fn removed(server: &Server, data: &Path, path: &str) -> Result<()> {
    let order = server.until(path, is_final).await?;
    ensure!(order["state"] == "removed", "{order}");
    processes::until_none(data)?;
    ensure!(valid_release_keys(server).await?.is_empty());
    let releases = server.get("/v1/releases").await?;
    ensure!(releases["items"] == json!([]), "{releases}");
    Ok(())
}

/// Orders the module that misbehaves.
async fn broken(server: &Server, how: &str) -> Result<String> {
    let order = json!({"client": "acme", "product": "broken", "parameters": {"how": how}});
    let (status, accepted) = server.post("/v1/orders", &order).await?;
    ensure!(status == 202, "{accepted}");
    Ok(text(&accepted, "status_url")?.to_owned())
}

/// The first revision of the release runs, and nothing else of it.
async fn only_the_first_revision_runs(server: &Server, release: &str, how: &str) -> Result<()> {
    let there =
        server.until(&format!("/v1/releases/{release}"), |release| release["state"] == "ready").await?;
    ensure!(there["revision"] == 1, "{there}");
    let copies = processes::until_running(release, "broken", |count| count == 1)?;
    let line = std::fs::read(format!("/proc/{}/cmdline", copies[0]))?;
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    ensure!(line.contains(how), "{line}");
    Ok(())
}

#[tokio::test]
async fn killed_while_the_last_revision_is_restored_it_is_back_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let mut server = Server::start(&data, &Start::default())?;
    let path = broken(&server, "works").await?;
    let ready = server.until(&path, is_final).await?;
    ensure!(ready["state"] == "ready", "{ready}");
    let release = text(&ready, "release_id")?;

    // An update that fails is rolled back.
    let path = broken(&server, "exits").await?;
    told(&server, &path, "restore", "begun").await?;
    server = killed(server, &data)?;
    let order = server.until(&path, is_final).await?;
    ensure!(order["state"] == "rolled_back" && text(&order, "reason")?.contains("code 3"), "{order}");
    only_the_first_revision_runs(&server, release, "works").await?;

    // An order is cancelled in the middle: killed once that was accepted, and once it had begun.
    for has_begun in [false, true] {
        let path = broken(&server, "never-ready").await?;
        told(&server, &path, "wait", "begun").await?;
        let (status, answer) = server.post(&format!("{path}/cancel"), &Value::Null).await?;
        ensure!(status == 202, "{status}: {answer}");
        if has_begun {
            told(&server, &path, "restore", "begun").await?;
        }
        server = killed(server, &data)?;
        let order = server.until(&path, is_final).await?;
        ensure!(order["state"] == "cancelled", "{order}");
        only_the_first_revision_runs(&server, release, "works").await?;
    }
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn killed_while_it_removes_a_release_nothing_of_it_is_left() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let mut server = Server::start(&data, &Start::default())?;
    // It does not end when it is asked to, so that the removal takes a moment.
    let path = broken(&server, "ignores-term").await?;
    let ready = server.until(&path, is_final).await?;
    ensure!(ready["state"] == "ready", "{ready}");
    let release = text(&ready, "release_id")?;
    let (status, accepted) =
        server.send(Method::DELETE, &format!("/v1/releases/{release}"), &Value::Null).await?;
    ensure!(status == 202, "{status}: {accepted}");
    let path = text(&accepted, "status_url")?;
    told(&server, path, "remove", "begun").await?;
    let order = server.get(path).await?;
    ensure!(!is_final(&order), "it was removed before the kill: {order}");
    server = killed(server, &data)?;
    removed(&server, &data, path).await
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
