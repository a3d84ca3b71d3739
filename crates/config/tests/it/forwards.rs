//! Endpoints that get events.

use std::time::Duration;

use orderwire_config::{Clients, HeaderText, forward_queue};
use orderwire_types::queue::{Declare, Format, Key, Kind};

use crate::load;

#[test]
fn an_endpoint_has_a_queue_of_its_own() {
    let yaml = "
forwards:
  shop: {url: 'https://shop.example/hooks', types: [shop.#], secret: '${CARGO_MANIFEST_DIR}'}
  crm:
    url: https://crm.example
    types: [crm.#, orderwire.order.#]
    clients: [acme]
    key: none
    format: flat
    secrets: ['${CARGO_MANIFEST_DIR}', '${CARGO_PKG_NAME}']
    attempts: 3
    backoff: {last: 2h}
    headers: {x-team: orders, authorization: '${CARGO_MANIFEST_DIR}'}
";
    let config = load(yaml).unwrap();
    let queues = config.queue_definitions();
    let names: Vec<&str> = queues.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[5..], ["forward-crm", "forward-shop"]);
    let at_broker = config.broker_queues();
    assert!(at_broker.iter().map(|queue| queue.name.as_str()).eq(names), "each has an intake: {at_broker:?}");
    assert!(at_broker[5..].iter().all(|queue| !queue.native && queue.declare == Declare::Quorum));
    let (crm, shop) = (&queues[5].1, &queues[6].1);
    assert_eq!((crm.kind, crm.key, crm.format, crm.attempts), (Kind::Task, Key::None, Format::Flat, 3));
    assert_eq!(
        (crm.backoff.first.0, crm.backoff.last.0),
        (Duration::from_secs(5), Duration::from_secs(7_200))
    );
    assert_eq!((shop.key, shop.format, shop.attempts), (Key::Partitionkey, Format::Cloudevents, 20));
    let (name, settings) = config.forwards.iter().next().unwrap();
    assert_eq!(forward_queue(name).unwrap().as_str(), "forward-crm");
    assert_eq!(settings.clients, Clients::Named(vec!["acme".parse().unwrap()]));
    assert_eq!(settings.signing_secrets().count(), 2);
    assert_eq!(settings.headers["x-team"], HeaderText::Plain("orders".to_owned()));
    assert!(matches!(settings.headers["authorization"], HeaderText::Secret(_)));
}

#[test]
fn a_broker_has_to_do_with_the_queue_of_an_endpoint_what_its_settings_say() {
    let yaml = "
queues:
  forward-shop: {declare: classic, principal: {clients: [acme]}, type: shop.told}
  own: {types: [own.#]}
forwards:
  shop: {url: 'https://shop.example', types: [shop.#], secret: '${CARGO_MANIFEST_DIR}', attempts: 7}
";
    let config = load(yaml).unwrap();
    let queues = config.broker_queues();
    let names: Vec<&str> = queues.iter().map(|queue| queue.name.as_str()).collect();
    assert_eq!(names[5..], ["forward-shop", "own"]);
    let shop = &queues[5];
    assert_eq!((shop.declare, shop.def.attempts), (Declare::Classic, 7));
    assert_eq!(shop.clients, Clients::Named(vec!["acme".parse().unwrap()]));
    assert_eq!(shop.event_type.as_ref().unwrap().as_str(), "shop.told");
    assert_eq!(shop.def.types, ["shop.#".parse().unwrap()]);
}

#[test]
fn every_fault_of_an_endpoint_is_told_and_no_secret() {
    let yaml = "
queues:
  forward-shop: {attempts: 3}
forwards:
  shop:
    url: https://shop.example
    types: []
    clients: []
    secret: hunter2-hunter2-hunter2-hunter2
    headers: {Authorization: Bearer hunter2, authorization: '${ORDERWIRE_NOT_SET_ANYWHERE}', x-a: '${hunter2}x'}
    timeout: 2m
    concurrency: 0
    rate: 0
    attempts: 1001
    backoff: {first: 2h}
    breaker: {failures: 0, pause: 10m}
    log: 0
  both:
    url: https://a.example
    types: [a.#]
    secret: ${CARGO_MANIFEST_DIR}
    secrets: ['file:/nowhere/secret']
  none: {url: 'https://a.example', types: [a.#]}
  a-name-that-is-longer-than-what-the-name-of-a-queue-has-room: {url: x, types: [a], secret: '${CARGO_MANIFEST_DIR}'}
";
    let shown = load(yaml).unwrap_err();
    insta::assert_snapshot!(shown);
    assert!(!shown.contains("hunter2"), "a secret is never shown");
}
