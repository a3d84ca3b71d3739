//! Which inputs are the same event.

use orderwire_types::envelope::{Arrival, RequestName, from_flat, from_json};
use orderwire_types::identity::{derived_trace, message_id, produced_id, request_id, row_id};
use orderwire_types::{Client, EventId, Limits};

use crate::support::{arrival, event_type};

const CLOUD: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b"}"#;

fn attributes(retrace: &str, product: &str, trace: &str) -> String {
    format!(
        r#"{{"client":"acme","product":"{product}","MessageAttributes":{{"event_type":"a.b","trace_id":"{trace}","retrace_intent":"{retrace}"}},
            "Metadata":{{"publisher":"p","host":"h"}}}}"#
    )
}

fn id(json: &str, arrival: &Arrival<'_>) -> (EventId, bool) {
    let incoming = from_json(json.as_bytes(), arrival).unwrap();
    (incoming.event.id, incoming.named)
}

#[test]
fn a_producers_id_counts_per_client_and_source() {
    let limits = Limits::default();
    let acme: Client = "acme".parse().unwrap();
    let elsewhere = Arrival { client: acme.clone(), ..arrival(&limits) };
    let default = Client::default_client();
    assert_eq!(id(CLOUD, &arrival(&limits)), (produced_id(&default, "/s", "1"), true));
    assert_eq!(id(CLOUD, &elsewhere), (produced_id(&acme, "/s", "1"), true));
    assert_ne!(id(CLOUD, &elsewhere), id(CLOUD, &arrival(&limits)));
}

#[test]
fn the_producer_goes_before_the_request_before_the_message_before_the_content() {
    let limits = Limits::default();
    let name = request_id("key:test", "POST /v1/events", "k");
    let request = Some(RequestName { id: name, index: None });
    let all = Arrival { request, message_id: Some("m"), ..arrival(&limits) };
    assert_eq!(id(CLOUD, &all), (produced_id(&Client::default_client(), "/s", "1"), true));
    let json = attributes("0", "small", "T-1");
    assert_eq!(id(&json, &all), (EventId(name), true));
    let second = Arrival { request: Some(RequestName { id: name, index: Some(1) }), ..all.clone() };
    assert_eq!(id(&json, &second), (EventId(row_id(EventId(name), 1)), true));

    let message = Arrival { message_id: Some("m"), ..arrival(&limits) };
    assert_eq!(id(&json, &message).0, message_id(&"acme".parse().unwrap(), "/p/h", "m"));
    assert_ne!(id(&json, &arrival(&limits)), id(&json, &message));
    let flat = from_flat(b"{}", &event_type("a.b"), &message).unwrap();
    assert!(flat.named);
}

#[test]
fn a_retraced_event_is_the_same_and_another_content_is_not() {
    let limits = Limits::default();
    let transport = arrival(&limits);
    let first = id(&attributes("0", "small", "T-1"), &transport);
    assert!(first.1);
    assert_eq!(id(&attributes("7", "small", "T-1"), &transport), first);
    assert_ne!(id(&attributes("0", "large", "T-1"), &transport).0, first.0);
    assert_ne!(id(&attributes("0", "small", "T-2"), &transport).0, first.0);
}

#[test]
fn neither_order_nor_white_space_makes_another_event() {
    let limits = Limits::default();
    let transport = arrival(&limits);
    let sorted = r#" { "Metadata" : {"host":"h", "publisher":"p"} , "product": "small",
        "MessageAttributes":{"trace_id":"T-1",  "event_type":"a.b"},"client":"acme"}"#;
    assert_eq!(id(sorted, &transport), id(&attributes("0", "small", "T-1"), &transport));
}

#[test]
fn an_event_that_nothing_names_is_new() {
    let limits = Limits::default();
    let transport = arrival(&limits);
    let json = r#"{"client":"acme","MessageAttributes":{"event_type":"a.b"}}"#;
    assert_eq!(id(json, &transport), (EventId(transport.new_id), false));
    // A trace of the header is not the producer's own.
    let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = Arrival { traceparent: Some(header), ..arrival(&limits) };
    assert!(!id(json, &traced).1);
}

#[test]
fn a_repeated_event_has_the_same_trace_without_memory() {
    let limits = Limits::default();
    let later = Arrival {
        now: "2030-01-01T00:00:00Z".parse().unwrap(),
        new_id: uuid::Uuid::from_u128(99),
        ..arrival(&limits)
    };
    let first = from_json(CLOUD.as_bytes(), &arrival(&limits)).unwrap().event;
    let second = from_json(CLOUD.as_bytes(), &later).unwrap().event;
    assert_eq!((first.id, &first.trace), (second.id, &second.trace));
    assert_eq!(first.trace, derived_trace(first.id));
}
