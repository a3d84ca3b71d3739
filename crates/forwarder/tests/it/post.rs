//! Events that arrive.

use std::num::NonZeroU32;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orderwire_forwarder::{EndpointOptions, HeaderContent};
use orderwire_store::log::AttemptOutcome;
use orderwire_types::queue::Format;
use orderwire_types::scope::Clients;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::stub::{Received, Stub, ok, status};
use crate::world::{KEY, World, endpoint, scope, secret};

/// HMAC (RFC 2104) written out, so that nothing of the forwarder verifies itself.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |byte: u8| block.map(|key| key ^ byte).to_vec();
    let inner = Sha256::digest([pad(0x36), message.to_vec()].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}

/// Whether one of the signatures is of this secret.
fn verifies(received: &Received, secret: &str) -> bool {
    let key = match secret.strip_prefix("whsec_") {
        Some(text) => STANDARD.decode(text).unwrap(),
        None => secret.as_bytes().to_vec(),
    };
    let signed = format!("{}.{}.{}", received.id(), received.headers["webhook-timestamp"], received.body);
    let expected = format!("v1,{}", STANDARD.encode(hmac(&key, signed.as_bytes())));
    received.headers["webhook-signature"].split(' ').any(|signature| signature == expected)
}

#[tokio::test]
async fn an_event_arrives_signed_and_whole() {
    let mut stub = Stub::start(|_| ok()).await;
    let headers = vec![
        ("x-team".to_owned(), HeaderContent::Plain("orders".to_owned())),
        ("authorization".to_owned(), HeaderContent::Secret(secret("Bearer hunter2"))),
    ];
    let mut world = World::start(vec![EndpointOptions { headers, ..endpoint("shop", &stub.url()) }]).await;
    let id = world.publish("shop.order.paid").await;
    let received = stub.next().await;
    assert_eq!(received.line, "POST /hooks?token=hunter2 HTTP/1.1");
    assert_eq!(received.id(), id.to_string());
    assert!(verifies(&received, KEY), "{received:?}");
    assert!(!verifies(&received, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    let sent: i64 = received.headers["webhook-timestamp"].parse().unwrap();
    assert!((jiff::Timestamp::now().as_second() - sent).abs() < 60, "{sent}");
    for (name, value) in [
        ("content-type", "application/cloudevents+json"),
        ("user-agent", concat!("orderwire/", env!("CARGO_PKG_VERSION"))),
        ("x-team", "orders"),
        ("authorization", "Bearer hunter2"),
    ] {
        assert_eq!(received.headers[name], value);
    }
    let trace = format!("00-{}-", id.0.simple());
    assert!(received.headers["traceparent"].starts_with(&trace), "{received:?}");
    assert!(received.body.contains("9007199254740993"), "digits are kept: {}", received.body);
    let event: serde_json::Value = serde_json::from_str(&received.body).unwrap();
    assert_eq!((&event["type"], &event["client"]), (&"shop.order.paid".into(), &"acme".into()));
    world.until_empty("shop").await;
    world.drain().await;
}

#[tokio::test]
async fn while_a_secret_is_changed_both_verify() {
    let mut stub = Stub::start(|_| ok()).await;
    let new = "any text or bytes of 24 bytes or more";
    let secrets = vec![secret(new), secret(KEY)];
    let mut world = World::start(vec![EndpointOptions { secrets, ..endpoint("shop", &stub.url()) }]).await;
    world.publish("shop.order.paid").await;
    let received = stub.next().await;
    assert_eq!(received.headers["webhook-signature"].split(' ').count(), 2);
    assert!(verifies(&received, new) && verifies(&received, KEY), "{received:?}");
    world.drain().await;
}

#[tokio::test]
async fn an_endpoint_gets_the_form_that_it_asks_for() {
    let mut stub = Stub::start(|_| ok()).await;
    let flat = EndpointOptions { format: Format::Flat, ..endpoint("shop", &stub.url()) };
    let mut world = World::start(vec![flat]).await;
    world.publish("shop.order.paid").await;
    let received = stub.next().await;
    assert_eq!(received.headers["content-type"], "application/json");
    assert!(received.body.contains("\"trace_id\""), "{}", received.body);
    world.drain().await;
}

#[tokio::test]
async fn events_of_other_clients_are_passed_over_without_a_step_of_their_trace() {
    let mut stub = Stub::start(|_| ok()).await;
    let clients = Clients::Only(["acme".parse().unwrap()].into());
    let mut world = World::start(vec![EndpointOptions { clients, ..endpoint("shop", &stub.url()) }]).await;
    let other = world.publish_for("shop.order.paid", "other").await;
    let own = world.publish_for("shop.order.paid", "acme").await;
    assert_eq!(stub.next().await.id(), own.to_string());
    world.until_empty("shop").await;
    assert_eq!(stub.all().len(), 1);
    let trace = world.store.trace(&scope(), other.0).await.unwrap();
    assert_eq!(trace.steps, [], "an event that is not for an endpoint is none of its work");
    world.drain().await;
}

#[tokio::test]
async fn no_more_is_posted_than_the_rate_allows() {
    let mut stub = Stub::start(|_| ok()).await;
    let rate = NonZeroU32::new(20);
    let mut world = World::start(vec![EndpointOptions { rate, ..endpoint("shop", &stub.url()) }]).await;
    let begin = Instant::now();
    for _ in 0..11 {
        world.publish("shop.order.paid").await;
    }
    for _ in 0..11 {
        stub.next().await;
    }
    // The first at once, ten more at 20 a second.
    assert!(begin.elapsed() >= Duration::from_millis(500), "{:?}", begin.elapsed());
    world.drain().await;
}

#[tokio::test]
async fn an_endpoint_that_wants_nothing_any_more_gets_nothing_again() {
    let mut stub = Stub::start(|_| status(410)).await;
    let mut world = World::start(vec![endpoint("shop", &stub.url())]).await;
    world.publish("shop.order.paid").await;
    stub.next().await;
    let dead = world.until("a dead letter", async |world| world.dead().await.pop()).await;
    assert_eq!(dead.attempts, 1);
    assert!(dead.cause.contains("410 Gone") && dead.cause.contains("remove it"), "{}", dead.cause);
    let log = world.logged("shop", 1).await;
    assert_eq!((log[0].outcome, log[0].status), (AttemptOutcome::Failed, Some(410)));
    assert!(log[0].detail.as_ref().unwrap().ends_with(": no"), "what it said is kept: {log:?}");
    world.drain().await;
}

#[tokio::test]
async fn a_connection_serves_many_events() {
    let mut stub = Stub::start(|_| status(200)).await;
    let one = EndpointOptions { concurrency: 1, ..endpoint("shop", &stub.url()) };
    let mut world = World::start(vec![one]).await;
    for _ in 0..10 {
        world.publish("shop.order.paid").await;
    }
    for _ in 0..10 {
        stub.next().await;
    }
    assert_eq!(stub.connections(), 1);
    world.drain().await;
}
