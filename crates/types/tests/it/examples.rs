//! The literal examples of the contract.

use orderwire_types::envelope::{
    Arrival, RequestName, from_flat, from_json, from_row, lines, render, to_cloudevent, to_flat,
    to_message_attributes,
};
use orderwire_types::queue::Format;
use orderwire_types::{Data, Limits, TraceId};

use crate::support::{arrival, event, event_type, incoming, members, normal, stored};

const ORDER: &str = r#"{"client":"acme","namespace":"acme-prod","environment":"Prod","archtype":"SaaS",
  "hardware":"Shared","product":"small",
  "MessageAttributes":{"event_type":{"Type":"String","Value":"mycompany.producer.event.client.published"},
    "published_on":"2023.01.2.23.02.642883101","trace_id":"9a2ae9de-3f82-4f55-966b-47df50ff51ff","retrace_intent":"0"},
  "Metadata":{"host":"web-1","origing":"Cloud","publisher":"shop"}}"#;

#[test]
fn message_attributes_become_an_event() {
    let incoming = incoming(ORDER);
    assert!(incoming.named, "a trace id of its own names the event");
    let event = incoming.event;
    assert_eq!(event.event_type.as_str(), "mycompany.producer.event.client.published");
    assert_eq!(event.client.as_str(), "acme");
    assert_eq!(event.source, "/shop/web-1");
    assert_eq!(event.key, None);
    assert_eq!(event.order_key(), "acme");
    assert_eq!(event.time.as_deref(), Some("2023.01.2.23.02.642883101"));
    assert_eq!(event.trace.to_string(), "9a2ae9de-3f82-4f55-966b-47df50ff51ff");
    assert_eq!(event.trace.w3c(), "9a2ae9de3f824f55966b47df50ff51ff");
    assert_eq!(event.attempt.as_deref(), Some("0"));
    assert_eq!(event.product().as_deref(), Some("small"));
    let Data::Json(data) = &event.data else { panic!("{:?}", event.data) };
    assert_eq!(
        data.get(),
        r#"{"namespace":"acme-prod","environment":"Prod","archtype":"SaaS","hardware":"Shared","product":"small"}"#
    );
}

#[test]
fn message_attributes_come_out_unchanged() {
    let event = stored(&event(ORDER));
    assert_eq!(normal(&to_message_attributes(&event)), normal(ORDER));
    assert_eq!(render(&event, Format::MessageAttributes), to_message_attributes(&event));
}

#[test]
fn message_attributes_as_a_cloudevent() {
    insta::assert_json_snapshot!(
        serde_json::from_str::<serde_json::Value>(&to_cloudevent(&event(ORDER))).unwrap()
    );
}

#[test]
fn message_attributes_as_flat() {
    insta::assert_json_snapshot!(serde_json::from_str::<serde_json::Value>(&to_flat(&event(ORDER))).unwrap());
}

#[test]
fn missing_parts_are_filled_in() {
    let event =
        event(r#"{"MessageAttributes":{"event_type":{"Type":"String","Value":"a.b.event.c.published"}}}"#);
    assert_eq!(event.client.as_str(), "default");
    assert_eq!(event.source, "/key:test");
    insta::assert_json_snapshot!(
        serde_json::from_str::<serde_json::Value>(&to_message_attributes(&event)).unwrap()
    );
}

#[test]
fn the_empty_text_is_as_good_as_missing() {
    let incoming = incoming(
        r#"{"client":"","MessageAttributes":{"event_type":"a.b","published_on":"","trace_id":"","retrace_intent":""},
            "Metadata":{"publisher":"","host":""}}"#,
    );
    assert!(!incoming.named);
    let out = members(&to_message_attributes(&incoming.event));
    assert_eq!(out["client"], r#""default""#);
    assert!(!out["MessageAttributes"].contains(r#":"""#), "{}", out["MessageAttributes"]);
}

#[test]
fn other_spellings_of_attributes_come_out_unchanged() {
    let json = r#"{"client":"a","MessageAttributes":{"event_type":"a.b","published_on":{"Type":"String","Value":"2024-05-01"},
        "trace_id":{"Value":"T-1","Type":"String"},"retrace_intent":2,"colour":{"Type":"String","Value":"red"}},
        "Metadata":{"publisher":"p q","host":"h/1","depth":[1.50,null]}}"#;
    let event = stored(&event(json));
    assert_eq!(event.source, "/p%20q/h%2F1");
    assert_eq!(event.attempt.as_deref(), Some("2"));
    assert_eq!(event.trace, TraceId::from_given("T-1"));
    assert_eq!(normal(&to_message_attributes(&event)), normal(json));
}

#[test]
fn values_keep_their_type_and_digits() {
    let values = r#"{"n":91,"s":"-23.831520","f":5.122996,"ms":1588114545387,"big":9007199254740993,"none":null,"z":1.10,"e":1E400}"#;
    let forms = [
        format!(r#"{{"client":"a","MessageAttributes":{{"event_type":"a.b"}},{}"#, &values[1..]),
        format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"a.b","data":{values}}}"#),
    ];
    for form in forms {
        let event = stored(&event(&form));
        let Data::Json(data) = &event.data else { panic!("{form}") };
        assert_eq!(data.get(), values);
        for format in [Format::Cloudevents, Format::MessageAttributes, Format::Flat] {
            let out = render(&event, format);
            for member in values.trim_matches(['{', '}']).split(',') {
                assert!(out.contains(member), "{member} is missing in {out}");
            }
        }
    }
}

#[test]
fn the_flat_form_comes_out_unchanged() {
    let json =
        r#"{"client":"acme","product":"small","n":1.10,"trace_id":"9a2ae9de-3f82-4f55-966b-47df50ff51ff"}"#;
    let limits = Limits::default();
    let event = from_flat(json.as_bytes(), &event_type("shop.order"), &arrival(&limits)).unwrap().event;
    assert_eq!(event.client.as_str(), "acme");
    assert_eq!(event.trace.to_string(), "9a2ae9de-3f82-4f55-966b-47df50ff51ff");
    assert_eq!(event.product().as_deref(), Some("small"));
    assert_eq!(to_flat(&stored(&event)), json);
}

#[test]
fn plain_json_is_data_and_names_client_and_trace() {
    let limits = Limits::default();
    let order = event_type("shop.order");
    let typed = Arrival { event_type: Some(&order), ..arrival(&limits) };
    let json = br#" {"client":"acme","trace_id":"T-1","n":1.10} "#;
    let event = from_json(json, &typed).unwrap().event;
    assert_eq!((event.client.as_str(), event.trace.to_string().as_str()), ("acme", "T-1"));
    let Data::Json(data) = &event.data else { panic!() };
    assert_eq!(data.get(), r#"{"client":"acme","trace_id":"T-1","n":1.10}"#);

    let unnamed = from_json(br#"{"client":{"name":"x"},"trace_id":5}"#, &typed).unwrap();
    assert_eq!(unnamed.event.client.as_str(), "default");
    assert!(!unnamed.named);

    for scalar in ["[1,2]", "5", "null", "\"x\""] {
        let event = from_json(scalar.as_bytes(), &typed).unwrap().event;
        assert_eq!(members(&to_message_attributes(&event))["data"], normal(scalar));
    }

    let fault = from_json(b"{}", &arrival(&limits)).unwrap_err();
    assert!(fault.detail.contains("/v1/events/{type}"), "{fault}");
}

#[test]
fn a_row_names_nothing() {
    let limits = Limits::default();
    let rows = event_type("orderwire.rows.sales");
    let typed = Arrival { event_type: Some(&rows), ..arrival(&limits) };
    let event = from_json(r#"{"client":"Müller & Co","trace_id":"x"}"#.as_bytes(), &typed).unwrap().event;
    assert_eq!(event.client.as_str(), "default");
    assert_eq!(event.trace.given, None);
}

#[test]
fn the_short_way_of_a_row_gives_the_same_event() {
    let limits = Limits::default();
    let rows = event_type("orderwire.rows.sales");
    let request = Some(RequestName { id: uuid::Uuid::from_u128(7), index: Some(3) });
    let typed = Arrival { event_type: Some(&rows), request, ..arrival(&limits) };
    let row = r#" {"client":"Big & Co","n":1.10} "#;
    assert_eq!(from_row(row, &rows, &typed).unwrap(), from_json(row.as_bytes(), &typed).unwrap());
}

#[test]
fn data_that_contradicts_an_envelope_is_nested() {
    let json = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b","client":"acme",
        "data":{"client":"other","Metadata":1,"trace_id":"other"}}"#;
    let event = event(json);
    for out in [to_message_attributes(&event), to_flat(&event)] {
        let out = members(&out);
        assert_eq!(out["client"], r#""acme""#);
        assert_eq!(out["data"], normal(r#"{"client":"other","Metadata":1,"trace_id":"other"}"#));
    }
}

#[test]
fn trace_of_the_body_goes_before_the_header() {
    let limits = Limits::default();
    let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let with_header = Arrival { traceparent: Some(header), ..arrival(&limits) };
    let read = |json: &str, arrival: &Arrival<'_>| from_json(json.as_bytes(), arrival).unwrap().event;
    assert_eq!(read(ORDER, &with_header).trace.to_string(), "9a2ae9de-3f82-4f55-966b-47df50ff51ff");

    let bare = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b"}"#;
    assert_eq!(read(bare, &with_header).trace.w3c(), "4bf92f3577b34da6a3ce929d0e0e4736");

    let extended =
        bare.replace('}', r#","traceparent":"00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-00f067aa0ba902b7-00"}"#);
    let event = read(&extended, &with_header);
    assert_eq!(event.trace.w3c(), "a".repeat(32));
    assert!(to_cloudevent(&event).contains("aaaa-00f067aa0ba902b7-00"), "the producer's span stays");

    let both = extended.replace('}', r#","traceid":"T-1"}"#);
    let event = read(&both, &with_header);
    assert_eq!(event.trace, TraceId::from_given("T-1"));
    let expected = format!("00-{}-", event.trace.w3c());
    assert!(to_cloudevent(&event).contains(&expected), "a span of another trace does not stay");

    let malformed = Arrival { traceparent: Some("00-xyz"), ..arrival(&limits) };
    assert_eq!(read(bare, &malformed).trace, read(bare, &arrival(&limits)).trace);
}

#[test]
fn lines_are_numbered_and_blank_ones_left_out() {
    let cut: Vec<(usize, &[u8])> = lines(b"{}\r\n\n  \n[1]\n").collect();
    assert_eq!(cut, [(1, b"{}".as_slice()), (4, b"[1]".as_slice())]);
}
