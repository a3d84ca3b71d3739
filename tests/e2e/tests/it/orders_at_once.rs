//! Many orders at the same moment, and several for the same release.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use orderwire_e2e::{Server, Start, processes};
use serde_json::{Value, json};

use crate::orders::{is_final, text};

/// How many orders are posted at the same moment. Each becomes two processes.
const ORDERS: usize = 200;

/// How long it may take until all of them are ready, on a small machine that has other
/// things to do.
const TIME_MAX: Duration = Duration::from_secs(180);

/// The most memory that the server may have taken meanwhile, in KiB.
const MEMORY_MAX_KIB: u64 = 256 << 10;

/// A product that never gets ready, and whose patience is longer than everything else.
const STUCK: &str = "product: stuck\nversion: '1'\ndescription: It never gets ready.\ntargets: [process]\n\
    kinds: [Process]\nhealth: {patience: 30m}\n";
const STUCK_TEMPLATE: &str = "apiVersion: orderwire.dev/v1\nkind: Process\nmetadata: {name: module}\nspec:\n  \
    command: [orderwire, module, broken, --how, never-ready]\n  ready: {output: '\"msg\":\"ready\"'}\n";

/// A server that also has the product `stuck`.
fn started(folder: &Path, data: &Path) -> Result<Server> {
    let product = folder.join("products/stuck");
    std::fs::create_dir_all(product.join("templates"))?;
    std::fs::write(product.join("product.yaml"), STUCK)?;
    std::fs::write(product.join("templates/module.yaml"), STUCK_TEMPLATE)?;
    let config = folder.join("orderwire.yaml");
    std::fs::write(&config, format!("products: {{folders: [{}]}}\n", folder.join("products").display()))?;
    let flags = vec!["--config".to_owned(), config.to_string_lossy().into_owned()];
    Server::start(data, &Start { flags, ..Start::default() })
}

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

/// The most memory that the server had at any moment, in KiB.
fn memory_peak_kib(server: &Server) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[tokio::test]
async fn orders_that_come_at_once_all_get_ready_while_one_never_does() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let server = started(folder.path(), &data)?;
    let stuck = json!({"client": "busy", "product": "stuck"});
    let stuck = posted(&server, &[stuck]).await?.remove(0);
    let orders: Vec<Value> = (0..ORDERS)
        .map(|n| {
            json!({"client": format!("client-{}", n % 10), "product": "web", "name": format!("site-{n}")})
        })
        .collect();
    let begun = Instant::now();
    let paths = posted(&server, &orders).await?;
    let mut releases = Vec::new();
    for path in &paths {
        let order = server.until(path, is_final).await?;
        ensure!(order["state"] == "ready", "{order}");
        releases.push(text(&order, "release_id")?.to_owned());
    }
    let took = begun.elapsed();
    ensure!(took < TIME_MAX, "{ORDERS} orders took {took:?}");
    let memory = memory_peak_kib(&server)?;
    ensure!(memory < MEMORY_MAX_KIB, "the server took {memory} KiB for {ORDERS} orders");
    for release in &releases {
        ensure!(processes::running(release, "web")?.len() == 1, "{release}");
    }
    let waits = server.get(&stuck).await?;
    ensure!(waits["state"] == "waiting", "it did not wait beside all of them: {waits}");
    let (status, cancelled) = server.post(&format!("{stuck}/cancel"), &json!({})).await?;
    ensure!(status == 202, "{status}: {cancelled}");
    let stuck = server.until(&stuck, is_final).await?;
    ensure!(stuck["state"] == "cancelled", "{stuck}");
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
