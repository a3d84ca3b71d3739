//! What every test needs: a transport, and comparison that keeps digits.

use std::collections::BTreeMap;

use orderwire_types::envelope::{Arrival, Incoming, from_json};
use orderwire_types::{Client, Event, EventType, Limits};
use serde_json::value::RawValue;
use uuid::Uuid;

/// The bare transport of a test.
pub(crate) fn arrival(limits: &Limits) -> Arrival<'_> {
    Arrival {
        principal: "key:test",
        client: Client::default_client(),
        event_type: None,
        source: None,
        traceparent: None,
        message_id: None,
        request: None,
        now: "2024-05-01T12:00:00.123456Z".parse().unwrap(),
        new_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
        limits,
    }
}

pub(crate) fn incoming(json: &str) -> Incoming {
    from_json(json.as_bytes(), &arrival(&Limits::default()))
        .unwrap_or_else(|fault| panic!("{fault:?} of {json}"))
}

pub(crate) fn event(json: &str) -> Event {
    incoming(json).event
}

pub(crate) fn event_type(text: &str) -> EventType {
    text.parse().unwrap()
}

/// The event after a stay in storage.
pub(crate) fn stored(event: &Event) -> Event {
    let again = Event::decode(&event.encode()).unwrap();
    assert_eq!(again, *event);
    again
}

/// JSON in one spelling: members sorted, strings unescaped and escaped anew,
/// numbers as they are. Two documents mean the same if and only if this is equal.
pub(crate) fn normal(json: &str) -> String {
    let raw: &RawValue = serde_json::from_str(json).unwrap_or_else(|err| panic!("{err} in {json}"));
    let json = raw.get();
    match json.as_bytes()[0] {
        b'{' => {
            let members: Vec<String> =
                members(json).into_iter().map(|(name, value)| format!("{}:{value}", quoted(&name))).collect();
            format!("{{{}}}", members.join(","))
        }
        b'[' => {
            let entries: Vec<&RawValue> = serde_json::from_str(json).unwrap();
            let entries: Vec<String> = entries.into_iter().map(|entry| normal(entry.get())).collect();
            format!("[{}]", entries.join(","))
        }
        b'"' => quoted(&serde_json::from_str::<String>(json).unwrap()),
        _ => json.to_owned(),
    }
}

/// The members of an object, their values in one spelling.
pub(crate) fn members(json: &str) -> BTreeMap<String, String> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(json).unwrap();
    members.into_iter().map(|(name, value)| (name, normal(value.get()))).collect()
}

/// A text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}
