//! CloudEvents 1.0 in its three modes.

use orderwire_types::envelope::{batch, from_binary, from_json, to_cloudevent, to_message_attributes};
use orderwire_types::{Data, FaultKind, Limits};

use crate::support::{arrival, event, members, normal, stored};

const FULL: &str = r#"{"specversion":"1.0","id":"A234-1234-1234","source":"/cloudevents/spec/pull","type":"com.example.someevent",
    "subject":"123","time":"2018-04-05T17:31:00+02:00","datacontenttype":"application/json","dataschema":"http://x/y",
    "client":"acme","partitionkey":"lane 7","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate":"rojo=1","comexampleextension1":"value","comexampleothervalue":5,"flag":true,"attempt":3,
    "traceid":"4bf92f35-77b3-4da6-a3ce-929d0e0e4736","causeid":"9a2ae9de-3f82-4f55-966b-47df50ff51ff",
    "data":{"n":9007199254740993,"a":[1.10]}}"#;

#[test]
fn a_structured_event_comes_out_unchanged_with_its_identity_beside_it() {
    let event = stored(&event(FULL));
    assert_eq!(event.order_key(), "lane 7");
    assert_eq!(event.cause.unwrap().to_string(), "9a2ae9de-3f82-4f55-966b-47df50ff51ff");
    let mut out = members(&to_cloudevent(&event));
    assert_eq!(out.remove("eventid"), Some(format!("\"{}\"", event.id)));
    assert_eq!(out, members(FULL));
}

#[test]
fn what_is_missing_is_filled_in_and_null_is_absent() {
    let event = event(
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b","subject":null,"client":null,"time":null}"#,
    );
    assert_eq!(event.data, Data::None);
    let out = members(&to_cloudevent(&event));
    let names: Vec<&str> = out.keys().map(String::as_str).collect();
    assert_eq!(names, ["client", "eventid", "id", "source", "specversion", "time", "traceparent", "type"]);
    assert_eq!(out["time"], r#""2024-05-01T12:00:00.123456Z""#);
}

#[test]
fn binary_mode_is_the_same_event() {
    let limits = Limits::default();
    let headers = [
        ("specversion", "1.0"),
        ("ID", "1"),
        ("source", "/s"),
        ("type", "a.b"),
        ("subject", "Euro%20%E2%82%AC"),
        ("client", "acme"),
    ];
    let body = br#" {"n":1.10} "#;
    let binary =
        from_binary(headers.into_iter(), Some("application/json; charset=utf-8"), body, &arrival(&limits))
            .unwrap();
    let structured = from_json(
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b","subject":"Euro €","client":"acme",
            "datacontenttype":"application/json; charset=utf-8","data":{"n":1.10}}"#
            .as_bytes(),
        &arrival(&limits),
    )
    .unwrap();
    assert_eq!(binary, structured);
}

#[test]
fn other_bytes_are_kept_as_base64() {
    let limits = Limits::default();
    let headers = || [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "a.b")].into_iter();
    let read = |content_type, body: &[u8]| from_binary(headers(), content_type, body, &arrival(&limits));
    let event = read(Some("text/plain"), b"hello\xff").unwrap().event;
    assert_eq!(event.data, Data::Base64("aGVsbG//".into()));
    let out = members(&to_cloudevent(&stored(&event)));
    assert_eq!(out["data_base64"], r#""aGVsbG//""#);
    assert_eq!(out["datacontenttype"], r#""text/plain""#);
    let again = from_json(to_cloudevent(&event).as_bytes(), &arrival(&limits)).unwrap().event;
    assert_eq!(again.data, event.data);
    assert_eq!(members(&to_message_attributes(&event))["data_base64"], r#""aGVsbG//""#);

    assert_eq!(read(None, b"[1]").unwrap().event.data, event_data("[1]"));
    assert_eq!(read(None, b"x").unwrap().event.data, Data::Base64("eA==".into()));
    assert_eq!(read(Some("application/json"), b"").unwrap().event.data, Data::None);
    assert_eq!(read(Some("application/json"), b"x").unwrap_err().kind, FaultKind::Malformed);
}

fn event_data(json: &str) -> Data {
    event(&format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"a.b","data":{json}}}"#)).data
}

#[test]
fn a_batch_is_cut_without_touching_its_members() {
    let json = format!(" [ {FULL} , {{\"n\":1.10}},5] ");
    let members = batch(json.as_bytes(), 3).unwrap();
    assert_eq!(members, [FULL, r#"{"n":1.10}"#, "5"]);
    assert_eq!(batch(b"[]", 0).unwrap(), Vec::<&str>::new());
    assert_eq!(batch(json.as_bytes(), 2).unwrap_err().kind, FaultKind::TooLarge);
    for bad in [b"{}".as_slice(), b"[1", b"[1]x", b"[\xff]", b""] {
        assert_eq!(batch(bad, 9).unwrap_err().kind, FaultKind::Malformed, "{bad:?}");
    }
}

#[test]
fn a_dotted_time_survives_the_way_through_a_cloudevent() {
    let limits = Limits::default();
    let first = event(
        r#"{"client":"a","MessageAttributes":{"event_type":"a.b","published_on":"2023.01.2.23.02.642883101"}}"#,
    );
    let json = to_cloudevent(&first);
    assert_eq!(members(&json)["time"], normal(r#""2023-01-02T23:02:00.642883101Z""#));
    let second = from_json(json.as_bytes(), &arrival(&limits)).unwrap().event;
    assert_eq!(second.time, first.time);
}

#[test]
fn faults_name_the_attribute() {
    let limits = Limits::default();
    let base = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b"}"#;
    for (from, to, pointer) in [
        (r#""specversion":"1.0""#, r#""specversion":"0.3""#, "/specversion"),
        (r#""specversion":"1.0""#, r#""specversion":1.0"#, "/specversion"),
        (r#""id":"1""#, r#""id":"""#, "/id"),
        (r#""id":"1""#, r#""id":7"#, "/id"),
        (r#""id":"1","#, "", "/id"),
        (r#""id":"1","#, r#""id":"1","id":"1","#, "/id"),
        (r#""source":"/s","#, "", "/source"),
        (r#""type":"a.b""#, r#""type":"a b""#, "/type"),
        (r#""type":"a.b""#, r#""x":1"#, "/type"),
        (r#""id""#, r#""Big":"x","id""#, "/Big"),
        (r#""id""#, r#""a/b_~":"x","id""#, "/a~1b_~0"),
        (r#""id""#, r#""ext":{},"id""#, "/ext"),
        (r#""id""#, r#""time":"yesterday","id""#, "/time"),
        (r#""id""#, r#""time":"2023.01.2.23.02.642883101","id""#, "/time"),
        (r#""id""#, r#""client":"a b","id""#, "/client"),
        (r#""id""#, r#""client":5,"id""#, "/client"),
        (r#""id""#, r#""partitionkey":"","id""#, "/partitionkey"),
        (r#""id""#, r#""partitionkey":"\u0000","id""#, "/partitionkey"),
        (r#""id""#, r#""source":"\ud800","id""#, "/source"),
        (r#""id""#, r#""attempt":true,"id""#, "/attempt"),
        (r#""id""#, r#""data":1,"data_base64":"","id""#, "/data_base64"),
        (r#""id""#, r#""data_base64":"a","id""#, "/data_base64"),
    ] {
        let json = base.replacen(from, to, 1);
        let fault = from_json(json.as_bytes(), &arrival(&limits)).unwrap_err();
        assert_eq!((fault.kind, fault.pointer.as_str()), (FaultKind::Invalid, pointer), "{json}");
    }
}
