//! What led to a trace, and what it led to.

use anyhow::{Context, Result, ensure};
use orderwire_e2e::postgres::Postgres;
use orderwire_e2e::{Server, Start, run};
use serde_json::{Value, json};

use crate::orders::{ordered, text};
use crate::postgres::on;

const CONFIG: &str = r#"
queues:
  first: {types: ["plant.#"]}
rules:
  hot:
    on: [plant.measured]
    when: event.data.value > 90
    emit: [{type: plant.alarm, data: {value: "{{ event.data.value }}"}}]
  told:
    on: [plant.alarm]
    emit: [{type: plant.told, data: {of: "{{ event.id }}"}}]
"#;

fn is_link(link: &Value, from: &str, to: &str, what: &str) -> bool {
    link["from"] == from && link["to"] == to && link["what"] == what
}

#[tokio::test]
async fn events_that_rules_and_consumers_made_are_found_from_either_end() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (config, data) = (folder.path().join("orderwire.yaml"), folder.path().join("data"));
    std::fs::write(&config, CONFIG)?;
    let flags = vec!["--config".to_owned(), config.to_string_lossy().into_owned()];
    let server = Server::start(&data, &Start { flags, ..Start::default() })?;
    let (status, first) = server.post("/v1/events/plant.measured", &json!({"value": 99})).await?;
    ensure!(status == 202, "{first}");
    let (event, trace) =
        (first["event_id"].as_str().context("id")?, first["trace_id"].as_str().context("trace")?);
    let path = format!("/v1/traces/{trace}/lineage");
    let caused = |graph: &Value| {
        let links = graph["links"].as_array().into_iter().flatten();
        links
            .filter(|link| link["what"].as_str().is_some_and(|what| what.starts_with("caused, rule")))
            .count()
    };
    let graph = server.until(&path, |graph| caused(graph) == 2).await?;
    let links = graph["links"].as_array().context("links")?;
    let of_event = format!("event/{event}");
    let alarm =
        links.iter().find(|link| link["from"] == of_event.as_str() && link["what"] == "caused, rule hot");
    let alarm = alarm.with_context(|| format!("{graph}"))?["to"].as_str().context("to")?.to_owned();
    ensure!(
        links.iter().any(|link| link["from"] == alarm.as_str() && link["what"] == "caused, rule told"),
        "{graph}"
    );
    let node =
        |id: &str| graph["nodes"].as_array().into_iter().flatten().find(|node| node["id"] == id).cloned();
    ensure!(
        node(&alarm).is_some_and(|node| node["name"] == "plant.alarm" && node["client"] == "default"),
        "{graph}"
    );

    // A consumer says what caused its event, on a trace of its own.
    let body = json!({"specversion": "1.0", "id": "x", "source": "/shop", "type": "plant.answered",
        "causeid": alarm.trim_start_matches("event/"), "data": {}});
    let response = server
        .http
        .post(format!("{}/v1/events", server.url))
        .header("content-type", "application/cloudevents+json")
        .body(body.to_string())
        .send()
        .await?;
    let answered: Value = response.json().await?;
    let other = answered["trace_id"].as_str().with_context(|| format!("{answered}"))?;
    ensure!(other != trace);
    let answer = format!("event/{}", answered["event_id"].as_str().context("id")?);
    // Its producer does not wait until that is noted.
    let told = |graph: &Value| {
        let mut links = graph["links"].as_array().into_iter().flatten();
        links.any(|link| is_link(link, &alarm, &answer, "caused, /shop"))
    };
    server.until(&path, told).await?;
    // And from its end: what led to it, not what else came of that.
    let graph = server.get(&format!("/v1/traces/{other}/lineage")).await?;
    let links = graph["links"].as_array().context("links")?;
    ensure!(links.iter().any(|link| is_link(link, &of_event, &alarm, "caused, rule hot")), "{graph}");
    ensure!(!links.iter().any(|link| link["what"] == "caused, rule told"), "{graph}");

    let words = ["--server", &server.url, "--key", &server.key, "trace", trace, "--lineage"];
    let shown = run(&words)?;
    ensure!(shown.code == 0 && shown.stdout.contains("caused, rule hot: "), "{shown:?}");
    let unknown = ["--server", &server.url, "--key", &server.key, "trace", "nowhere", "--lineage"];
    ensure!(run(&unknown)?.code == 3);
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_resource_leads_back_to_its_release_and_its_trace() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&folder.path().join("data"), &Start::default())?;
    resources_are_found(&server).await?;
    ensure!(server.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_resource_leads_back_to_its_release_on_postgresql() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let postgres = Postgres::started()?;
    let server = Server::start(&folder.path().join("data"), &on(&postgres))?;
    resources_are_found(&server).await?;
    ensure!(server.stop()?.success());
    Ok(())
}

async fn resources_are_found(server: &Server) -> Result<()> {
    let order = ordered(server, &json!({"client": "acme", "product": "sensor"})).await?;
    ensure!(order["state"] == "ready", "{order}");
    let (trace, release) = (text(&order, "trace_id")?, text(&order, "release_id")?);
    let shown = server.get(&format!("/v1/releases/{release}")).await?;
    let first = &shown["resources"][0];
    let (kind, name) = (text(first, "kind")?, text(first, "name")?);
    let of_client = "client/acme".to_owned();
    let (of_release, of_revision) = (format!("release/{release}"), format!("revision/{release}/1"));
    let resource = format!("resource/{release}/{kind}/{name}");
    let is_whole = |graph: &Value| -> Result<()> {
        let links = graph["links"].as_array().context("links")?;
        for (from, to, what) in [
            (&of_client, &of_release, "has"),
            (&of_release, &of_revision, "has"),
            (&of_revision, &resource, "has"),
        ] {
            ensure!(links.iter().any(|link| is_link(link, from, to, what)), "{from} {what} {to}: {graph}");
        }
        let made =
            links.iter().find(|link| link["from"] == of_revision.as_str() && link["what"] == "made by");
        ensure!(
            made.is_some_and(|link| link["to"].as_str().is_some_and(|to| to.ends_with(trace))),
            "{graph}"
        );
        let nodes = graph["nodes"].as_array().context("nodes")?;
        let node = nodes.iter().find(|node| node["id"] == resource.as_str()).context("the resource")?;
        ensure!(node["state"] == "ready" && node["client"] == "acme", "{node}");
        Ok(())
    };
    // From the trace to the resource, and from the resource and the release to the trace.
    is_whole(&server.get(&format!("/v1/traces/{trace}/lineage")).await?)?;
    is_whole(&server.get(&format!("/v1/lineage?release={release}")).await?)?;
    is_whole(&server.get(&format!("/v1/lineage?resource={name}&kind={kind}")).await?)?;
    // Of other clients it is not there.
    let (_, key) =
        server.post("/v1/keys", &json!({"name": "other", "roles": ["read"], "clients": ["other"]})).await?;
    let other = orderwire_e2e::client(text(&key, "key")?)?;
    for query in [format!("resource={name}"), format!("release={release}"), "resource=nothing".to_owned()] {
        let answer = other.get(format!("{}/v1/lineage?{query}", server.url)).send().await?;
        ensure!(answer.status() == 404, "{query}: {answer:?}");
    }
    for query in ["", "kind=Process", "release=x&resource=y"] {
        let answer = server.http.get(format!("{}/v1/lineage?{query}", server.url)).send().await?;
        ensure!(answer.status() == 422, "{query}: {answer:?}");
    }
    // After its removal it leads back all the same.
    let removed =
        ordered(server, &json!({"client": "acme", "product": "sensor", "action": "remove"})).await?;
    ensure!(removed["state"] == "removed", "{removed}");
    let graph = server.get(&format!("/v1/lineage?resource={name}")).await?;
    let links = graph["links"].as_array().context("links")?;
    ensure!(links.iter().any(|link| is_link(link, &of_revision, &resource, "has")), "{graph}");
    let words = ["--server", &server.url, "--key", &server.key, "lineage", name, "--kind", kind];
    let said = run(&words)?;
    ensure!(said.code == 0 && said.stdout.contains(&resource), "{said:?}");
    Ok(())
}
