//! Many orders at the same moment, and several for the same release.

use anyhow::{Result, ensure};
use orderwire_e2e::{Server, Start, processes};
use serde_json::{Value, json};

use crate::orders::{is_final, text};

/// How many orders are posted, and how many of them at the same moment. Each becomes
/// two processes, which is what a small machine can hold.
const ORDERS: usize = 100;
const AT_ONCE: usize = 25;

/// Posts orders at the same moment; where each is told.
async fn posted(server: &Server, orders: &[Value]) -> Result<Vec<String>> {
    let mut calls = tokio::task::JoinSet::new();
    for order in orders {
        let request = server.http.post(format!("{}/v1/orders", server.url)).json(order);
        calls.spawn(async move {
            let answer = request.send().await?;
            let status = answer.status();
            let accepted: Value = serde_json::from_str(&answer.text().await?)?;
            ensure!(status == 202, "{status}: {accepted}");
            Ok(text(&accepted, "status_url")?.to_owned())
        });
    }
    calls.join_all().await.into_iter().collect()
}

#[tokio::test]
async fn orders_that_come_at_once_all_get_ready_while_one_never_does() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let server = Server::start(&data, &Start::default())?;
    let stuck = json!({"client": "busy", "product": "broken", "parameters": {"how": "never-ready"}});
    let stuck = posted(&server, &[stuck]).await?.remove(0);
    let orders: Vec<Value> = (0..ORDERS)
        .map(|n| {
            json!({"client": format!("client-{}", n % 10), "product": "web", "name": format!("site-{n}")})
        })
        .collect();
    let mut paths = Vec::new();
    for orders in orders.chunks(AT_ONCE) {
        paths.extend(posted(&server, orders).await?);
    }
    for path in &paths {
        let order = server.until(path, is_final).await?;
        ensure!(order["state"] == "ready", "{order}");
        let release = text(&order, "release_id")?;
        ensure!(processes::running(release, "web")?.len() == 1, "{order}");
    }
    let stuck = server.until(&stuck, is_final).await?;
    ensure!(stuck["state"] == "rolled_back", "{stuck}");
    // A drain ends all of them.
    ensure!(server.stop()?.success());
    ensure!(processes::of_data(&data)?.is_empty());
    Ok(())
}

#[tokio::test]
async fn orders_for_one_release_at_once_leave_exactly_one_of_it_running() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&folder.path().join("data"), &Start::default())?;
    for round in 0..5 {
        let order = |n: usize| json!({"client": "acme", "product": "web", "parameters": {"title": format!("{round} {n}")}});
        let paths = posted(&server, &[order(0), order(1)]).await?;
        let mut ready = Vec::new();
        let mut release = String::new();
        for path in &paths {
            let order = server.until(path, is_final).await?;
            let state = text(&order, "state")?;
            ensure!(["ready", "superseded"].contains(&state), "round {round}: {order}");
            if state == "ready" {
                ready.push(order["revision"].as_u64());
            }
            release = text(&order, "release_id")?.to_owned();
        }
        ensure!(!ready.is_empty(), "round {round}: one of them has to come through");
        let there = server.get(&format!("/v1/releases/{release}")).await?;
        ensure!(there["state"] == "ready", "round {round}: {there}");
        ensure!(there["revision"].as_u64() == ready.into_iter().max().flatten(), "round {round}: {there}");
        ensure!(processes::running(&release, "web")?.len() == 1, "round {round}");
    }
    Ok(())
}
