//! What led to a trace, and what it led to.

use anyhow::{Context, Result, ensure};
use orderwire_e2e::{Server, Start, run};
use serde_json::{Value, json};

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
