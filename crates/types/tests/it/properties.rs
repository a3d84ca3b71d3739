//! Properties that hold for every document of every form.

use std::collections::BTreeMap;

use orderwire_types::envelope::{
    Arrival, from_binary, from_flat, from_json, to_cloudevent, to_flat, to_message_attributes,
};
use orderwire_types::{Data, Event, Limits};
use proptest::prelude::*;
use serde_json::value::RawValue;

use crate::support::{arrival, event, event_type, members, normal, quoted, stored};

/// JSON text with every sort of number and string, in a producer's spelling.
fn json() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        number,
        any::<String>().prop_map(|text| quoted(&text)),
        Just(r#""\u00e9\/\ud83d\ude00""#.to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name = "[a-zA-Z_ /~é]{0,6}";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|entries| format!("[{}]", entries.join(" , "))),
            prop::collection::btree_map(name, inner, 0..4).prop_map(|members| object(members.into_iter())),
        ]
    })
}

fn object(members: impl Iterator<Item = (String, String)>) -> String {
    let members: Vec<String> = members.map(|(name, value)| format!("{} : {value}", quoted(&name))).collect();
    format!("{{{}}}", members.join(","))
}

fn optional(
    members: Vec<(&'static str, BoxedStrategy<String>)>,
) -> impl Strategy<Value = Vec<(String, String)>> {
    let members: Vec<_> = members
        .into_iter()
        .map(|(name, value)| {
            prop::option::of(value).prop_map(move |value| value.map(|value| (name.to_owned(), value)))
        })
        .collect();
    members.prop_map(|members| members.into_iter().flatten().collect::<Vec<_>>()).prop_shuffle()
}

fn text(pattern: &'static str) -> BoxedStrategy<String> {
    pattern.prop_map(|text| quoted(&text)).boxed()
}

fn trace() -> BoxedStrategy<String> {
    prop_oneof![
        text("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}"),
        text("[0-9a-fA-F]{31}b"),
        text("[ -~é]{1,20}"),
    ]
    .boxed()
}

fn time() -> BoxedStrategy<String> {
    prop_oneof![
        text(
            "20[0-9]{2}\\.(0?[1-9]|1[0-2])\\.(0?[1-9]|1[0-9])\\.(0?[0-9]|1[0-9])\\.([0-5]?[0-9])\\.[0-9]{1,9}"
        ),
        text("20[0-9]{2}-0[1-9]-1[0-9]"),
        text("20[0-9]{2}-0[1-9]-1[0-9]T1[0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]0[0-9]:30)"),
    ]
    .boxed()
}

/// The members of message-attributes: business, attributes, metadata.
fn message_attributes() -> impl Strategy<Value = String> {
    let business = prop::collection::btree_map("[a-z]{1,8}|product|data|Title é", json(), 0..5);
    let typed = "[a-z]{1,6}(\\.[a-zA-Z0-9_-]{1,6}){0,4}";
    let event_type = prop_oneof![
        text(typed),
        text(typed).prop_map(|value| format!(r#"{{"Type":"String","Value":{value}}}"#)),
        text(typed).prop_map(|value| format!(r#"{{"Value":{value},"Type":"String","More":[1.0]}}"#)),
    ];
    let further = optional(vec![
        ("published_on", time()),
        ("trace_id", trace()),
        ("retrace_intent", prop_oneof![text("[0-9]{1,3}"), Just("7".to_owned())].boxed()),
        ("colour", json().boxed()),
    ]);
    let metadata = optional(vec![
        ("host", text("[ -~é]{0,8}")),
        ("publisher", text("[ -~é]{0,8}")),
        ("origing", text("Cloud|Edge")),
        ("depth", json().boxed()),
    ]);
    (business, event_type, further, prop::option::of(metadata), prop::option::of(text("[A-Za-z0-9._-]{1,9}")))
        .prop_map(|(mut business, event_type, mut attributes, metadata, client)| {
            business.remove("client");
            attributes.push(("event_type".into(), event_type));
            let mut members: Vec<_> = business.into_iter().collect();
            members.push(("MessageAttributes".into(), object(attributes.into_iter())));
            members.extend(metadata.map(|metadata| ("Metadata".into(), object(metadata.into_iter()))));
            members.extend(client.map(|client| ("client".into(), client)));
            object(members.into_iter())
        })
}

fn cloudevent() -> impl Strategy<Value = String> {
    let rfc3339 =
        text("20[0-9]{2}-0[1-9]-1[0-9][Tt ]1[0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]0[0-9]:30)");
    let data = prop_oneof![
        Just(None),
        json().prop_map(|json| Some(("data", json))),
        Just(Some(("data_base64", "\"aGVsbG//\"".to_owned()))),
    ];
    let attributes = optional(vec![
        ("subject", text("[ -~é]{1,8}")),
        ("datacontenttype", text("application/json|text/xml")),
        ("time", rfc3339.boxed()),
        ("client", text("[A-Za-z0-9._-]{1,9}")),
        ("partitionkey", text("[ -~é]{1,8}")),
        ("traceid", trace()),
        ("traceparent", text("00-[0-9a-f]{31}a-[0-9a-f]{15}b-0[01]")),
        ("publishedon", time()),
        ("attempt", prop_oneof![text("[0-9]{1,3}"), Just("7".to_owned())].boxed()),
        ("causeid", text("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}|x")),
        ("flag", Just("true".to_owned()).boxed()),
        ("number", Just("42".to_owned()).boxed()),
    ]);
    (text("[ -~é]{1,9}"), text("[ -~é]{1,9}"), text("[a-z]{1,6}(\\.[a-z]{1,6}){0,4}"), attributes, data)
        .prop_map(|(id, source, event_type, attributes, data)| {
            let fixed =
                [("specversion", "\"1.0\"".to_owned()), ("id", id), ("source", source), ("type", event_type)];
            let members = fixed.into_iter().chain(data).map(|(name, value)| (name.to_owned(), value));
            object(members.chain(attributes))
        })
}

fn flat() -> impl Strategy<Value = String> {
    let members = optional(vec![
        ("client", text("[A-Za-z0-9._-]{1,9}")),
        ("trace_id", trace()),
        ("published_on", time()),
        ("retrace_intent", text("[0-9]{1,3}")),
        ("product", json().boxed()),
        ("event_type", json().boxed()),
        ("data", json().boxed()),
    ]);
    members.prop_map(|members| object(members.into_iter()))
}

fn flat_event(json: &str) -> Event {
    from_flat(json.as_bytes(), &event_type("a.b"), &arrival(&Limits::default())).unwrap().event
}

fn any_event() -> impl Strategy<Value = Event> {
    let plain = json().prop_filter_map("a client must be valid", |json| {
        let limits = Limits::default();
        let order = event_type("a.b");
        from_json(json.as_bytes(), &Arrival { event_type: Some(&order), ..arrival(&limits) }).ok()
    });
    prop_oneof![
        message_attributes().prop_map(|json| event(&json)),
        cloudevent().prop_map(|json| event(&json)),
        flat().prop_map(|json| flat_event(&json)),
        plain.prop_map(|incoming| incoming.event),
    ]
}

/// Every member of `given` is in `out` unchanged; the names of the others.
fn added(given: &str, out: &str, except: &[&str]) -> Result<Vec<String>, TestCaseError> {
    let (given, out) = (members(given), members(out));
    for (name, value) in given.iter().filter(|(name, _)| !except.contains(&name.as_str())) {
        prop_assert_eq!(Some(value), out.get(name), "{} of {:?}", name, out);
    }
    Ok(out.into_keys().filter(|name| !given.contains_key(name)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn message_attributes_round_trip(json in message_attributes()) {
        let out = to_message_attributes(&stored(&event(&json)));
        let names = added(&json, &out, &["MessageAttributes"])?;
        prop_assert!(names.iter().all(|name| matches!(name.as_str(), "client" | "Metadata")), "{names:?}");
        let (given, out_attributes) = (members(&json), members(&out));
        let names = added(&given["MessageAttributes"], &out_attributes["MessageAttributes"], &[])?;
        let known = |name: &String| matches!(name.as_str(), "published_on" | "trace_id" | "retrace_intent");
        prop_assert!(names.iter().all(known), "{names:?}");
        // What was filled in is now given: the next way through changes nothing.
        prop_assert_eq!(normal(&to_message_attributes(&event(&out))), normal(&out));
    }

    #[test]
    fn cloudevents_round_trip(json in cloudevent()) {
        let event = stored(&event(&json));
        let out = to_cloudevent(&event);
        let given = members(&json);
        let other_trace = given.get("traceparent").is_some_and(|header| !header.contains(&event.trace.w3c()));
        let names = added(&json, &out, if other_trace { &["traceparent"] } else { &[] })?;
        let filled = |name: &String| matches!(name.as_str(), "eventid" | "client" | "time" | "traceparent");
        prop_assert!(names.iter().all(filled), "{names:?}");
    }

    #[test]
    fn binary_mode_says_the_same(json in cloudevent()) {
        let given = raw_members(&json);
        let percent = |text: &str| text.bytes().map(|byte| match byte {
            b' ' | b'"' | b'%' | 0x7f.. => format!("%{byte:02X}"),
            _ => char::from(byte).to_string(),
        }).collect::<String>();
        let headers: Vec<(String, String)> = given.iter()
            .filter(|(name, _)| !matches!(name.as_str(), "data" | "data_base64" | "datacontenttype"))
            .map(|(name, value)| {
                let text = serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned());
                (name.clone(), percent(&text))
            })
            .collect();
        let (content_type, body): (_, &[u8]) = match given.get("data") {
            Some(data) => (Some("application/json"), data.get().as_bytes()),
            None if given.contains_key("data_base64") => (Some("application/octet-stream"), b"hello\xff"),
            None => (None, b""),
        };
        let limits = Limits::default();
        let binary = from_binary(
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())),
            content_type,
            body,
            &arrival(&limits),
        ).unwrap().event;
        let structured = event(&json);
        prop_assert_eq!(binary.id, structured.id);
        prop_assert_eq!(&binary.data, &structured.data);
        let (binary, structured) = (members(&to_cloudevent(&binary)), members(&to_cloudevent(&structured)));
        for (name, value) in structured.iter().filter(|(name, _)| name.as_str() != "datacontenttype") {
            // Headers know no numbers and booleans.
            let said = binary[name].trim_matches('"');
            prop_assert_eq!(said, value.trim_matches('"'), "{}", name);
        }
    }

    #[test]
    fn the_flat_form_round_trips(json in flat()) {
        let out = to_flat(&stored(&flat_event(&json)));
        let names = added(&json, &out, &[])?;
        prop_assert!(names.iter().all(|name| matches!(name.as_str(), "client" | "trace_id")), "{names:?}");
    }

    #[test]
    fn a_cloudevent_carries_every_event(first in any_event()) {
        let second = event(&to_cloudevent(&first));
        prop_assert_eq!(&second.event_type, &first.event_type);
        prop_assert_eq!(&second.source, &first.source);
        prop_assert_eq!(&second.client, &first.client);
        prop_assert_eq!(&second.key, &first.key);
        prop_assert_eq!(&second.trace, &first.trace);
        prop_assert_eq!(&second.attempt, &first.attempt);
        prop_assert_eq!(&second.cause, &first.cause);
        prop_assert_eq!(&second.data, &first.data);
        prop_assert!(first.time.is_none() || second.time == first.time, "{:?} {:?}", first.time, second.time);
    }

    #[test]
    fn message_attributes_carry_every_event(first in any_event()) {
        let json = to_message_attributes(&first);
        let second = event(&json);
        prop_assert_eq!(&second.event_type, &first.event_type);
        prop_assert_eq!(&second.client, &first.client);
        prop_assert_eq!(&second.trace, &first.trace);
        prop_assert_eq!(second.attempt.as_deref(), Some(first.attempt.as_deref().unwrap_or("0")));
        carries(&json, &first)?;
    }

    #[test]
    fn the_flat_form_carries_every_event(first in any_event()) {
        let json = to_flat(&first);
        let second = flat_event(&json);
        prop_assert_eq!(&second.client, &first.client);
        prop_assert_eq!(&second.trace, &first.trace);
        carries(&json, &first)?;
    }

    /// White space, the order of members and another attempt are the same event.
    #[test]
    fn identity_is_stable(json in message_attributes(), attempt in "[0-9]{1,4}") {
        let raw = raw_members(&json);
        let mut attributes = raw_members(raw["MessageAttributes"].get());
        attributes.insert("retrace_intent".into(), serde_json::value::to_raw_value(&attempt).unwrap());
        let shuffled = object(raw.iter().rev().map(|(name, value)| {
            let value = match name.as_str() {
                "MessageAttributes" => object(attributes.iter().rev().map(|(name, value)| (name.clone(), value.get().to_owned()))),
                _ => value.get().to_owned(),
            };
            (name.clone(), format!("\n\t{value} "))
        }));
        prop_assert_eq!(event(&shuffled).id, event(&json).id);
    }

    /// No bytes make a reader panic, nor what comes out of it unreadable.
    #[test]
    fn any_bytes_are_an_event_or_a_fault(body in prop::collection::vec(any::<u8>(), 0..128)) {
        let limits = Limits::default();
        let _ = from_json(&body, &arrival(&limits));
        let _ = from_flat(&body, &event_type("a.b"), &arrival(&limits));
    }

    #[test]
    fn damaged_documents_are_an_event_or_a_fault(
        json in prop_oneof![message_attributes(), cloudevent()], at: prop::sample::Index, byte in "[\\\\\"{}\\[\\],:0a ]",
    ) {
        let at = at.index(json.len());
        prop_assume!(json.is_char_boundary(at));
        let damaged = format!("{}{byte}{}", &json[..at], &json[at..]);
        let limits = Limits::default();
        if let Ok(incoming) = from_json(damaged.as_bytes(), &arrival(&limits)) {
            one_document(&to_cloudevent(&incoming.event));
            one_document(&to_message_attributes(&incoming.event));
        }
    }
}

/// The data of the event is in `json`: beside the envelope or under `data`.
fn carries(json: &str, first: &Event) -> Result<(), TestCaseError> {
    let out = members(json);
    match &first.data {
        Data::None => {}
        Data::Base64(text) => prop_assert_eq!(&out["data_base64"], &normal(&quoted(text))),
        Data::Json(data) if out.get("data") == Some(&normal(data.get())) => {}
        Data::Json(data) => {
            for (name, value) in members(data.get()) {
                let filled = value == "null" || value == r#""""#;
                prop_assert!(filled || out.get(&name) == Some(&value), "{name} of {json}");
            }
        }
    }
    Ok(())
}

/// What comes out is one JSON document.
fn one_document(json: &str) {
    serde_json::from_str::<&RawValue>(json).unwrap();
}

/// The members of an object as they are spelled.
fn raw_members(json: &str) -> BTreeMap<String, Box<RawValue>> {
    serde_json::from_str(json).unwrap()
}
