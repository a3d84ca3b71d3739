//! `asyncapi.json` is what AsyncAPI's own schema takes, in every world.
//!
//! The schema is the one of the package `@asyncapi/specs` 6.11.1, unchanged, with its licence beside it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use jsonschema::Validator;
use orderwire_e2e::kafka::{self, Kafka};
use orderwire_e2e::nats::Nats;
use orderwire_e2e::rabbit::Rabbit;
use orderwire_e2e::{Server, Start};
use serde_json::{Value, json};

const SCHEMA: &str = include_str!("../../fixtures/asyncapi-3.0.0/schema.json");

/// Queues of each kind and form.
const QUEUES: &str = "queues:
  shop: {types: ['shop.#', '*.sold'], format: flat, key: none}
  till: {types: ['till.#'], format: message-attributes, type: till.sold}
  bulk: {types: ['bulk.#'], kind: stream}
";

fn schema() -> Result<Validator> {
    jsonschema::validator_for(&serde_json::from_str(SCHEMA)?).context("the schema of AsyncAPI")
}

/// Every fault, each with its place.
fn faults(schema: &Validator, document: &Value) -> Vec<String> {
    schema.iter_errors(document).map(|fault| format!("{}: {fault}", fault.instance_path())).collect()
}

fn server(folder: &Path, start: Start) -> Result<Server> {
    let config = folder.join("orderwire.yaml");
    let native = if start.env.is_empty() { "" } else { "  clients: {native: true}\n" };
    std::fs::write(&config, format!("{QUEUES}{native}"))?;
    let flags = vec!["--config".to_owned(), config.to_string_lossy().into_owned()];
    Server::start(&folder.join("data"), &Start { flags, ..start })
}

/// With the broker of this address.
fn at(url: String) -> Start {
    Start { env: vec![("ORDERWIRE__BROKER__URL".to_owned(), url)], ..Start::default() }
}

/// The document of this server is what it has to be; with it.
async fn documented(start: Start) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let server = server(folder.path(), start)?;
    let fields = json!({"fields": [
        {"name": "at", "type": "timestamp", "required": true},
        {"name": "no2", "type": "float", "unit": "µg/m³", "description": "Nitrogen dioxide"},
        {"name": "raw", "type": "json"},
    ]});
    let (status, made) = server.send(reqwest::Method::PUT, "/v1/datasets/air", &fields).await?;
    ensure!(status < 300, "{status}: {made}");
    let document = server.get("/asyncapi.json").await?;
    let faults = faults(&schema()?, &document);
    ensure!(faults.is_empty(), "{faults:#?}");
    ensure!(document["channels"]["queue.bulk"].is_object(), "{document}");
    ensure!(document["channels"]["rows.air"].is_object(), "{document}");
    Ok(document)
}

#[tokio::test]
async fn without_a_broker_it_is_valid() -> Result<()> {
    let document = documented(Start::default()).await?;
    ensure!(document["servers"]["broker"].is_null(), "{document}");

    // The schema is one that finds faults.
    let schema = schema()?;
    for (place, value) in [
        ("/info/title", Value::Null),
        ("/channels/events/address", json!(7)),
        ("/channels/events/no_such_word", json!(true)),
        ("/operations/publish/action", json!("listen")),
        ("/servers/this/host", json!({})),
    ] {
        let mut wrong = document.clone();
        let (object, member) = place.rsplit_once('/').context("a place")?;
        let object = wrong.pointer_mut(object).and_then(Value::as_object_mut).context("an object")?;
        object.insert(member.to_owned(), value);
        ensure!(!faults(&schema, &wrong).is_empty(), "{place} is wrong, and nothing was said");
    }
    Ok(())
}

#[tokio::test]
async fn behind_rabbitmq_it_is_valid() -> Result<()> {
    let rabbit = Rabbit::started()?;
    let document = documented(at(rabbit.url())).await?;
    ensure!(document["servers"]["broker"]["protocol"] == "amqp", "{document}");
    ensure!(document["channels"]["broker.clients"].is_object(), "{document}");
    Ok(())
}

#[tokio::test]
async fn behind_nats_it_is_valid() -> Result<()> {
    let nats = Nats::started()?;
    let document = documented(at(nats.url())).await?;
    ensure!(document["servers"]["broker"]["protocol"] == "nats", "{document}");
    ensure!(document["channels"]["broker.orderwire.queue.shop"].is_object(), "{document}");
    Ok(())
}

#[tokio::test]
async fn behind_kafka_it_is_valid() -> Result<()> {
    let kafka = Kafka::started()?;
    let document = documented(Start { binary: Some(kafka::binary()?), ..at(kafka.url()) }).await?;
    ensure!(document["servers"]["broker"]["protocol"] == "kafka", "{document}");
    Ok(())
}
