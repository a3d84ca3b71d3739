//! One release through its whole life: ordered, running, updated, brought back, saved from
//! updates that fail, and removed without a rest.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use orderwire_e2e::{Server, Start, processes};
use reqwest::Method;
use serde_json::{Value, json};

use crate::orders::{is_final, ordered, text, valid_release_keys};

/// A station that measures as the product `sensor` does, and on request has a process of
/// the product `broken` beside it, with which an update can fail.
const PRODUCT: &str = r#"
product: station
version: '1'
description: A station that measures, and beside it what may misbehave.
targets: [process]
kinds: [Process, File]
parameters:
  type: object
  additionalProperties: false
  properties:
    station: {type: string, pattern: "^[a-z]+$", default: roof, examples: [roof]}
    interval_ms: {type: integer, minimum: 10, default: 100}
    beside: {enum: [nothing, exits, never-ready, leaves-children, ignores-term], default: nothing}
access: {rights: [write], objects: [dataset/air]}
health: {patience: 10s}
on_failure: rollback
datasets:
  air:
    fields:
      - {name: TimeInstant, type: timestamp, required: true}
      - {name: id_entity, type: text, required: true}
      - {name: pm10, type: float}
    key: [id_entity, TimeInstant]
    on_conflict: update
    unknown: ignore
"#;
const TEMPLATE: &str = r#"
apiVersion: orderwire.dev/v1
kind: File
metadata: {name: notes}
spec: {path: notes.txt, content: "of {{ client }}"}
---
apiVersion: orderwire.dev/v1
kind: Process
metadata: {name: module}
spec:
  command: [orderwire, module, sensor, --dataset, air, --station, "{{ values.station }}",
    --interval-ms, "{{ values.interval_ms }}"]
  ready: {output: '"msg":"rows accepted"'}
{% if values.beside != "nothing" %}
---
apiVersion: orderwire.dev/v1
kind: Process
metadata: {name: beside}
spec:
  command: [orderwire, module, broken, --how, "{{ values.beside }}"]
  ready: {output: '"msg":"ready"'}
  restart: {first: 100ms, last: 1s}
{% endif %}
"#;

/// What every order of the story says.
const ORDER: &str = r#"{"client": "acme", "product": "station", "environment": "Development",
    "archtype": "SaaS", "hardware": "Classic"}"#;

/// A server whose configuration has the product.
fn started(folder: &Path, data: &Path) -> Result<Server> {
    let product = folder.join("products/station");
    std::fs::create_dir_all(product.join("templates"))?;
    std::fs::write(product.join("product.yaml"), PRODUCT)?;
    std::fs::write(product.join("templates/station.yaml"), TEMPLATE)?;
    let config = folder.join("orderwire.yaml");
    let products = folder.join("products");
    std::fs::write(&config, format!("products: {{folders: [{}]}}\n", products.display()))?;
    let flags = vec!["--config".to_owned(), config.to_string_lossy().into_owned()];
    Server::start(data, &Start { flags, ..Start::default() })
}

/// An order of the product.
fn order(parameters: &Value) -> Result<Value> {
    let mut order: Value = serde_json::from_str(ORDER)?;
    order["parameters"] = parameters.clone();
    Ok(order)
}

#[tokio::test]
async fn a_release_runs_sends_rows_is_updated_survives_failures_and_is_removed_without_a_rest() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let server = started(folder.path(), &data)?;

    let release = runs(&server, &data).await?;
    is_updated_and_brought_back(&server, &release).await?;
    survives_updates_that_fail(&server, &release).await?;
    is_removed(&server, &data, &release).await?;

    // The first order of another release fails, and leaves nothing either.
    let failed = ordered(&server, &order(&json!({"beside": "exits"}))?).await?;
    ensure!(failed["state"] == "rolled_back", "{failed}");
    let second = text(&failed, "release_id")?;
    ensure!(second != release, "{failed}");
    nothing_is_left(&server, &data, second).await?;
    ensure!(server.stop()?.success());
    ensure!(processes::of_data(&data)?.is_empty());
    Ok(())
}

/// Ordered, it is ready, sends rows, and its trace is complete; ordered again, nothing
/// restarts.
async fn runs(server: &Server, data: &Path) -> Result<String> {
    let first = order(&json!({"interval_ms": 100}))?;
    let ready = ordered(server, &first).await?;
    ensure!(ready["state"] == "ready" && ready["revision"] == 1, "{ready}");
    ensure!(ready["environment"] == "dev" && ready["hardware"] == "shared", "{ready}");
    let release = text(&ready, "release_id")?.to_owned();

    // Its rows arrive, under its client.
    server
        .until("/rest/air?_client=eq.acme&limit=1", |rows| {
            rows.as_array().is_some_and(|rows| rows.len() == 1)
        })
        .await?;
    // The trace is complete: from the call to the running process and its first rows.
    let trace = server
        .until(&format!("/v1/traces/{}", text(&ready, "trace_id")?), |trace| {
            trace["state"] == "done" && steps(trace).contains(&("recorder", "recorded"))
        })
        .await?;
    let whole = ["accepted", "planned", "prepared", "applied", "ready"];
    let told: Vec<&str> =
        steps(&trace).into_iter().filter(|(role, _)| *role == "provisioner").map(|(_, step)| step).collect();
    ensure!(told == whole, "each once, in order: {trace}");
    ensure!(steps(&trace).contains(&("gateway", "accepted")), "{trace}");

    ensure!(!no_file_of(data, &release)?, "its folder is not named after it");

    // Who has what.
    let acme = server.get("/v1/clients/acme").await?;
    ensure!(
        acme["releases"][0]["product"] == "station" && acme["releases"][0]["environment"] == "dev",
        "{acme}"
    );

    // Its key covers its client and its dataset, nothing else.
    let keys = valid_release_keys(server).await?;
    ensure!(keys.len() == 1, "{keys:?}");
    ensure!(keys[0]["clients"] == json!(["acme"]) && keys[0]["roles"] == json!(["write"]), "{keys:?}");
    ensure!(keys[0]["objects"] == json!(["dataset/air"]), "{keys:?}");

    // The same again restarts nothing.
    let before = processes::until_count(&release, |count| count > 0)?;
    let again = ordered(server, &first).await?;
    ensure!(again["state"] == "unchanged" && again["revision"] == 1, "{again}");
    ensure!(processes::of_release(&release)? == before, "something restarted");
    Ok(release)
}

/// The role and name of each step.
fn steps(trace: &Value) -> Vec<(&str, &str)> {
    let steps = trace["steps"].as_array().into_iter().flatten();
    steps.filter_map(|step| Some((step["role"].as_str()?, step["step"].as_str()?))).collect()
}

/// An update is another revision with another key and other processes; the first one comes
/// back as a third.
async fn is_updated_and_brought_back(server: &Server, release: &str) -> Result<()> {
    let (before, keys) = (processes::of_release(release)?, valid_release_keys(server).await?);
    let mut update = order(&json!({"interval_ms": 200}))?;
    update["action"] = json!("update");
    let updated = ordered(server, &update).await?;
    ensure!(updated["state"] == "ready" && updated["revision"] == 2, "{updated}");
    let after = processes::of_release(release)?;
    ensure!(!after.is_empty() && after.iter().all(|pid| !before.contains(pid)), "{before:?} {after:?}");
    let rotated = valid_release_keys(server).await?;
    ensure!(rotated.len() == 1 && rotated[0]["id"] != keys[0]["id"], "{rotated:?}");
    let diff = server.get(&format!("/v1/releases/{release}/diff")).await?;
    ensure!(diff.to_string().contains("/parameters/interval_ms"), "{diff}");

    let (status, accepted) =
        server.post(&format!("/v1/releases/{release}/rollback"), &json!({"revision": 1})).await?;
    ensure!(status == 202, "{status}: {accepted}");
    let back = server.until(text(&accepted, "status_url")?, is_final).await?;
    ensure!(back["state"] == "ready" && back["action"] == "rollback" && back["revision"] == 3, "{back}");
    let diff = server.get(&format!("/v1/releases/{release}/diff?from=1&to=3")).await?;
    ensure!(diff["changes"] == json!([]), "{diff}");
    Ok(())
}

/// An update that fails says why; the revision that was ready before is back, alone, and
/// sends rows.
async fn survives_updates_that_fail(server: &Server, release: &str) -> Result<()> {
    for (how, reason) in [("exits", "code 3"), ("never-ready", "within")] {
        let failed = ordered(server, &order(&json!({"beside": how, "station": "cellar"}))?).await?;
        ensure!(failed["state"] == "rolled_back", "{how}: {failed}");
        ensure!(text(&failed, "reason")?.contains(reason), "{how}: {failed}");
        let trace = server.get(&format!("/v1/traces/{}", text(&failed, "trace_id")?)).await?;
        ensure!(trace["state"] == "failed" && trace.to_string().contains(reason), "{how}: {trace}");
        let there = server.get(&format!("/v1/releases/{release}")).await?;
        ensure!(there["state"] == "ready" && there["revision"] == 3, "{how}: {there}");
        ensure!(processes::running(release, "broken")?.is_empty(), "{how}: what failed still runs");
        ensure!(processes::running(release, "sensor")?.len() == 1, "{how}: not exactly one measures");
        ensure!(valid_release_keys(server).await?.len() == 1, "{how}: other keys than its own are valid");
        rows_go_on(server).await.context(how)?;
    }
    Ok(())
}

/// Returns when another row of the station on the roof is there, where no update that
/// fails measures.
async fn rows_go_on(server: &Server) -> Result<()> {
    let newest = "/rest/air?id_entity=eq.roof&select=_seq&order=_seq.desc&limit=1";
    let before = server.get(newest).await?;
    server.until(newest, |rows| *rows != before).await.map(drop)
}

/// Children that hide, and a process that will not listen, go with their release.
async fn is_removed(server: &Server, data: &Path, release: &str) -> Result<()> {
    for beside in ["leaves-children", "ignores-term"] {
        let ready = ordered(server, &order(&json!({"beside": beside}))?).await?;
        ensure!(ready["state"] == "ready", "{beside}: {ready}");
    }
    let (status, accepted) =
        server.send(Method::DELETE, &format!("/v1/releases/{release}"), &Value::Null).await?;
    ensure!(status == 202, "{status}: {accepted}");
    let removed = server.until(text(&accepted, "status_url")?, is_final).await?;
    ensure!(removed["state"] == "removed", "{removed}");
    let named = removed["removed"].to_string();
    for object in ["Process module", "Process beside", "File notes"] {
        ensure!(named.contains(object), "{object} is not named: {removed}");
    }
    nothing_is_left(server, data, release).await?;
    let acme = server.get("/v1/clients/acme").await?;
    ensure!(acme["releases"] == json!([]), "{acme}");
    Ok(())
}

/// No process, file or key of the release is there.
async fn nothing_is_left(server: &Server, data: &Path, release: &str) -> Result<()> {
    ensure!(processes::of_release(release)?.is_empty());
    ensure!(processes::of_data(data)?.is_empty());
    ensure!(valid_release_keys(server).await?.is_empty());
    ensure!(no_file_of(data, release)?, "a file or folder of the release is left");
    Ok(())
}

/// Whether nothing in the data folder is named after the release.
fn no_file_of(data: &Path, release: &str) -> Result<bool> {
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().contains(release) {
                return Ok(false);
            }
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(true)
}
