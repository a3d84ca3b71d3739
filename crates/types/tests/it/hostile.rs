//! Input that means harm ends in a fault of the right kind.

use orderwire_types::envelope::{Arrival, from_flat, from_json};
use orderwire_types::{FaultKind, Limits};

use crate::support::{arrival, event_type};

fn fault(body: &[u8]) -> (FaultKind, String) {
    let limits = Limits::default();
    let order = event_type("a.b");
    let typed = Arrival { event_type: Some(&order), ..arrival(&limits) };
    let fault = from_json(body, &typed).expect_err(&String::from_utf8_lossy(&body[..body.len().min(200)]));
    (fault.kind, fault.pointer)
}

#[test]
fn what_is_not_json_is_malformed() {
    for body in [
        b"".as_slice(),
        b" ",
        b"{",
        b"nope",
        b"{\"a\":1}x",
        b"{\"a\":01}",
        b"{\"a\":NaN}",
        b"\xff\xfe",
        b"{\"a\":\"\xc3\x28\"}",
        b"\xef\xbb\xbf{}",
        b"{\"a\":\"\n\"}",
        b"{'a':1}",
        b"[1,]",
        b"}",
    ] {
        assert_eq!(fault(body).0, FaultKind::Malformed, "{body:?}");
    }
}

#[test]
fn sizes_and_depths_have_limits() {
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    assert_eq!(fault(large.as_bytes()).0, FaultKind::TooLarge);
    for open in ["[", "{\"a\":"] {
        assert_eq!(fault(open.repeat(10_000).as_bytes()), (FaultKind::Invalid, String::new()));
    }
    let limits = Limits::default();
    let deep = format!("{}1{}", "[".repeat(limits.json_depth), "]".repeat(limits.json_depth));
    let order = event_type("a.b");
    assert!(from_json(deep.as_bytes(), &Arrival { event_type: Some(&order), ..arrival(&limits) }).is_ok());
}

#[test]
fn wrong_members_are_named() {
    for (body, pointer) in [
        (r#"{"MessageAttributes":5}"#, "/MessageAttributes"),
        (r#"{"MessageAttributes":{},"MessageAttributes":{}}"#, "/MessageAttributes"),
        (r#"{"MessageAttributes":{"trace_id":"a","trace_id":"b"}}"#, "/MessageAttributes/trace_id"),
        (r#"{"MessageAttributes":{"trace_id":5}}"#, "/MessageAttributes/trace_id"),
        (r#"{"MessageAttributes":{"trace_id":"a\u0000b"}}"#, "/MessageAttributes/trace_id"),
        (
            r#"{"MessageAttributes":{"event_type":{"Type":"String","Value":["a"]}}}"#,
            "/MessageAttributes/event_type/Value",
        ),
        (r#"{"MessageAttributes":{"event_type":"other.type"}}"#, "/MessageAttributes/event_type"),
        (r#"{"MessageAttributes":{"event_type":"a b"}}"#, "/MessageAttributes/event_type"),
        (r#"{"MessageAttributes":{"published_on":"2023.13.2.23.02.6"}}"#, "/MessageAttributes/published_on"),
        (r#"{"MessageAttributes":{"retrace_intent":true}}"#, "/MessageAttributes/retrace_intent"),
        (r#"{"MessageAttributes":{},"Metadata":[]}"#, "/Metadata"),
        (r#"{"MessageAttributes":{},"Metadata":{"host":1}}"#, "/Metadata/host"),
        (r#"{"MessageAttributes":{},"client":{}}"#, "/client"),
        (r#"{"MessageAttributes":{},"client":"a/b"}"#, "/client"),
        (r#"{"MessageAttributes":{},"a":1,"a":2}"#, "/a"),
        (r#"{"client":"a b"}"#, "/client"),
        (r#"{"client":"a","client":"b"}"#, "/client"),
        (r#"{"client":1,"client":"b"}"#, "/client"),
    ] {
        assert_eq!(fault(body.as_bytes()), (FaultKind::Invalid, pointer.to_owned()), "{body}");
    }
    let long = format!(r#"{{"trace_id":"{}"}}"#, "x".repeat(2_000));
    assert_eq!(fault(long.as_bytes()), (FaultKind::Invalid, "/trace_id".to_owned()));
}

#[test]
fn a_type_must_be_said_somewhere() {
    let limits = Limits::default();
    let fault = from_json(br#"{"MessageAttributes":{}}"#, &arrival(&limits)).unwrap_err();
    assert_eq!(fault.pointer, "/MessageAttributes/event_type");
}

#[test]
fn the_flat_form_is_checked() {
    let limits = Limits::default();
    for (body, kind, pointer) in [
        ("[]", FaultKind::Invalid, ""),
        ("x", FaultKind::Malformed, ""),
        (r#"{"client":1}"#, FaultKind::Invalid, "/client"),
        (r#"{"published_on":"soon"}"#, FaultKind::Invalid, "/published_on"),
        (r#"{"trace_id":{}}"#, FaultKind::Invalid, "/trace_id"),
        (r#"{"x":1,"x":1}"#, FaultKind::Invalid, "/x"),
    ] {
        let fault = from_flat(body.as_bytes(), &event_type("a.b"), &arrival(&limits)).unwrap_err();
        assert_eq!((fault.kind, fault.pointer.as_str()), (kind, pointer), "{body}");
    }
}
