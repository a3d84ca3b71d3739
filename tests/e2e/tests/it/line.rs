//! The line, end to end: rows in, recorded, read back, cached, traced.

use anyhow::{Context, Result, ensure};
use orderwire_e2e::{Server, Start};
use serde_json::json;

use crate::postgres::both_stores;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/air-quality");

async fn air_quality(folder: &std::path::Path, start: &Start) -> Result<Server> {
    let flags = vec!["--config".to_owned(), format!("{EXAMPLE}/orderwire.yaml")];
    Server::start(&folder.join("data"), &Start { flags, ..start.clone() })
}

both_stores! {
    a_csv_is_recorded_read_cached_and_traced
    a_restart_keeps_everything_and_repeats_nothing
}

async fn post_csv(server: &Server, csv: String) -> Result<serde_json::Value> {
    let response = server
        .http
        .post(format!("{}/v1/datasets/air/rows", server.url))
        .header("content-type", "text/csv")
        .body(csv)
        .send()
        .await?;
    let status = response.status();
    let answer = response.text().await?;
    ensure!(status == 202, "{status}: {answer}");
    Ok(serde_json::from_str(&answer)?)
}

async fn a_csv_is_recorded_read_cached_and_traced(start: &Start) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = air_quality(folder.path(), start).await?;
    let csv = std::fs::read_to_string(format!("{EXAMPLE}/measures.csv"))?;
    let rows = csv.lines().count() as u64 - 1;
    let accepted = post_csv(&server, csv).await?;
    ensure!(accepted["accepted"] == rows && accepted["rejected"] == 0, "{accepted}");
    let trace_path = format!("/v1/traces/{}", accepted["trace_id"].as_str().context("a trace id")?);
    let trace = server.until(&trace_path, |trace| trace["state"] == "done").await?;
    // The first event of a client announces the client on the same trace.
    let of_the_import = |step: &&serde_json::Value| step["event_id"] == accepted["event_id"];
    let steps = trace["steps"].as_array().context("steps")?.iter().filter(of_the_import);
    let steps: Vec<&str> = steps.filter_map(|step| step["step"].as_str()).collect();
    ensure!(steps == ["accepted", "queued", "recorded"], "{trace}");

    let found = server
        .get("/rest/air?select=id_entity,no2,_trace_id&order=TimeInstant.asc,id_entity.asc&limit=3")
        .await?;
    ensure!(found.as_array().is_some_and(|rows| rows.len() == 3), "{found}");
    ensure!(found[0]["_trace_id"] == accepted["trace_id"], "{found}");

    // The view is public: no key.
    let view = format!("{}/api/v1/measures/air", server.url);
    let plain = reqwest::Client::new();
    let first: serde_json::Value = serde_json::from_str(&plain.get(&view).send().await?.text().await?)?;
    ensure!(first["cache"] == false, "{}", first["cache"]);
    let response = plain.get(&view).send().await?;
    let etag = response.headers().get("etag").context("an ETag")?.clone();
    let second: serde_json::Value = serde_json::from_str(&response.text().await?)?;
    ensure!(second["cache"] == true, "{}", second["cache"]);
    let stations = second.as_object().context("an object")?;
    ensure!(stations.len() == 11, "10 stations and the flag: {:?}", stations.keys());
    let values: usize =
        stations.values().filter_map(|station| station["values"].as_array()).map(Vec::len).sum();
    ensure!(values as u64 == rows, "{values} of {rows} rows");
    let unchanged = plain.get(&view).header("if-none-match", etag).send().await?;
    ensure!(unchanged.status() == 304, "{}", unchanged.status());
    let keyless = plain.get(format!("{}/rest/air", server.url)).send().await?;
    ensure!(keyless.status() == 401, "{}", keyless.status());
    ensure!(server.stop()?.success());
    Ok(())
}

async fn a_restart_keeps_everything_and_repeats_nothing(start: &Start) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = air_quality(folder.path(), start).await?;
    let csv = "TimeInstant,id_entity,so2,no2,co,o3,pm10,pm2_5\n2026-11-01T00:00:00Z,s1,1,2,3,4,5,6\n";
    post_csv(&server, csv.to_owned()).await?;
    server.until("/rest/air", |rows| rows.as_array().is_some_and(|rows| rows.len() == 1)).await?;
    let (status, _) = server.post("/v1/queues", &json!({"name": "keep", "types": ["keep.#"]})).await?;
    ensure!(status < 300);
    let (status, event) = server.post("/v1/events/keep.me", &json!({"n": 9_007_199_254_740_993_u64})).await?;
    ensure!(status == 202, "{event}");
    ensure!(server.stop()?.success());

    let server = air_quality(folder.path(), start).await?;
    let rows = server.get("/rest/air").await?;
    ensure!(rows.as_array().is_some_and(|rows| rows.len() == 1), "{rows}");
    let (_, leased) = server.post("/v1/queues/keep/lease", &json!({"max": 5})).await?;
    ensure!(leased["deliveries"].as_array().is_some_and(|all| all.len() == 1), "{leased}");
    let data = &leased["deliveries"][0]["event"]["data"];
    ensure!(*data == json!({"n": 9_007_199_254_740_993_u64}), "{leased}");
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn the_documents_describe_the_running_server() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&folder.path().join("data"), &Start::default())?;
    let api = server.get("/openapi.json").await?;
    let (_, nothing) = server.post("/v1/no/such/route", &json!({})).await?;
    ensure!(nothing.to_string().contains("nothing is at"), "{nothing}");
    for (path, methods) in api["paths"].as_object().context("paths")? {
        for method in methods.as_object().context("methods")?.keys() {
            let url = format!("{}{}", server.url, path.replace(['{', '}'], ""));
            let method: reqwest::Method = method.to_uppercase().parse()?;
            let response = server.http.request(method.clone(), &url).send().await?;
            let status = response.status();
            let text = response.text().await?;
            // An existing route answers anything but "no such route" and "no such method".
            ensure!(status != 405, "{method} {path}: {status}");
            ensure!(!text.contains("nothing is at"), "{method} {path}: {status}: {text}");
        }
    }
    ensure!(server.stop()?.success());
    Ok(())
}
