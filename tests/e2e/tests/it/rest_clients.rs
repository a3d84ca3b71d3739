//! Clients of PostgREST that exist, unchanged; and what our own dialect adds, over HTTP. Each on
//! both stores.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use orderwire_e2e::{Server, Start};
use serde_json::{Value, json};

use crate::postgres::both_stores;

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");

async fn with_air(folder: &std::path::Path, start: &Start) -> Result<Server> {
    let server = Server::start(&folder.join("data"), start)?;
    let def = json!({"fields": [
        {"name": "TimeInstant", "type": "timestamp", "required": true},
        {"name": "id_entity", "type": "text", "required": true},
        {"name": "no2", "type": "float"}, {"name": "n", "type": "integer"},
        {"name": "ok", "type": "boolean"}, {"name": "raw", "type": "json"}],
        "key": ["TimeInstant", "id_entity"], "time": "TimeInstant"});
    let (status, answer) = server.send(reqwest::Method::PUT, "/v1/datasets/air", &def).await?;
    ensure!(status == 201, "{status}: {answer}");
    Ok(server)
}

/// What tests need that `cargo xtask test` makes.
fn made(variable: &str) -> Result<std::ffi::OsString> {
    std::env::var_os(variable)
        .with_context(|| format!("{variable} is not set: run the tests with `cargo xtask test`"))
}

async fn runs(server: &Server, mut command: Command, script: &str) -> Result<()> {
    let key = server.key.clone();
    command.arg(format!("{CLIENTS}/{script}")).env("URL", &server.url).env("KEY", key);
    let ran = tokio::task::spawn_blocking(move || command.output()).await?.context("running the client")?;
    let said = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{script}: {said}");
    Ok(())
}

both_stores! {
    the_client_library_of_python_runs_unchanged
    the_client_library_of_javascript_runs_unchanged
    rows_that_come_in_by_rest_are_paged_by_cursor_and_described
}

async fn the_client_library_of_python_runs_unchanged(start: &Start) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = with_air(folder.path(), start).await?;
    runs(&server, Command::new(made("ORDERWIRE_PYTHON")?), "postgrest_client.py").await?;
    ensure!(server.stop()?.success());
    Ok(())
}

async fn the_client_library_of_javascript_runs_unchanged(start: &Start) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = with_air(folder.path(), start).await?;
    let mut node = Command::new("node");
    node.env("NODE_PATH", made("ORDERWIRE_NODE_MODULES")?);
    runs(&server, node, "postgrest_client.cjs").await?;
    ensure!(server.stop()?.success());
    Ok(())
}

async fn rows_that_come_in_by_rest_are_paged_by_cursor_and_described(start: &Start) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = with_air(folder.path(), start).await?;
    let rows: Vec<Value> = (0..25)
        .map(|n| json!({"TimeInstant": format!("2026-01-01T{:02}:{:02}:00Z", n / 10, n % 10), "id_entity": "s1", "n": n}))
        .collect();
    let url = |path: &str| format!("{}{path}", server.url);
    let post = server.http.post(url("/rest/air?select=n")).header("prefer", "return=representation");
    let response = post.json(&rows).send().await?;
    ensure!(response.status() == 201, "{}", response.status());
    let back: Value = response.json().await?;
    ensure!(back.as_array().is_some_and(|rows| rows.len() == 25) && back[24] == json!({"n": 24}), "{back}");

    // Taken once; of what was there before, and of one row that are two, no rows come back.
    let named = |key: &str, rows: Value, accept: &str| {
        let post = server.http.post(url("/rest/air?select=n")).header("prefer", "return=representation");
        post.header("idempotency-key", key.to_owned()).header("accept", accept.to_owned()).json(&rows)
    };
    let row = |minute: usize| json!({"TimeInstant": format!("2025-01-01T00:{minute:02}:00Z"), "id_entity": "s1", "n": -1});
    for (key, rows, accept, status, body) in [
        ("a", json!([row(1)]), "application/json", 201, "[{\"n\":-1}]"),
        ("a", json!([row(1)]), "application/json", 202, ""),
        ("b", json!([row(2), row(3)]), "application/vnd.pgrst.object+json", 202, ""),
    ] {
        let response = named(key, rows, accept).send().await?;
        let (found, text) = (response.status(), response.text().await?);
        ensure!(found == status && text == body, "{key}: {found}: {text}");
    }

    let mut seen = Vec::new();
    let mut path = Some("/rest/air?n=gte.0&select=n&order=TimeInstant.desc&limit=10&cursor=start".to_owned());
    while let Some(page) = path {
        let response = server.http.get(url(&page)).send().await?;
        ensure!(response.status() == 200, "{page}: {}", response.status());
        let link = response.headers().get("link").map(|link| link.to_str().map(str::to_owned)).transpose()?;
        path =
            link.and_then(|link| Some(link.split_once('<')?.1.split_once(">; rel=\"next\"")?.0.to_owned()));
        let page: Vec<Value> = response.json().await?;
        seen.extend(page.iter().filter_map(|row| row["n"].as_i64()));
    }
    ensure!(seen == (0..25).rev().collect::<Vec<_>>(), "{seen:?}");

    let hours =
        server.get("/rest/air?n=gte.0&select=hour:TimeInstant.bucket(1h),n.sum()&order=hour.desc").await?;
    let expected = json!([{"hour": "2026-01-01T02:00:00Z", "sum": 110}, {"hour": "2026-01-01T01:00:00Z", "sum": 145},
        {"hour": "2026-01-01T00:00:00Z", "sum": 45}]);
    ensure!(hours == expected, "{hours}");

    let api = server.get("/rest/").await?;
    ensure!(api["swagger"] == "2.0", "{api}");
    ensure!(api["definitions"]["air"]["properties"]["n"]["format"] == "bigint", "{api}");
    ensure!(api["paths"]["/air"]["post"].is_object(), "{api}");
    for path in ["/rest/air/more", "/rest/nope"] {
        let response = server.http.get(url(path)).send().await?;
        let (status, body) = (response.status(), response.json::<Value>().await?);
        ensure!(
            status == 404 && body["code"] == "42P01" && body["message"].is_string(),
            "{path}: {status} {body}"
        );
    }
    ensure!(server.stop()?.success());
    Ok(())
}
