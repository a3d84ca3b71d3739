//! The same event with other data, as an operator corrects it.
//!
//! The envelope stays as it is. What the new data says about it, where its form
//! has room for that (`client`, `trace_id`, …), must therefore be what the envelope
//! says; the rest is checked as if the event came in now.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::members::Members;
use super::message_attributes::attempt_of;
use super::plain::ROWS;
use crate::event::{Data, Event, Origin};
use crate::ids::TraceId;
use crate::json::nests_at_most;
use crate::limits::Limits;
use crate::problem::Fault;

/// The members of message-attributes JSON that are envelope.
const ENVELOPE: [&str; 3] = ["client", "MessageAttributes", "Metadata"];

/// The event with this data, everything else as it is. JSON stays JSON and bytes
/// stay bytes. Rows are checked against their dataset by whoever knows it.
///
/// # Errors
/// `TooLarge` beyond the limit of one event (rows aside, which the limit of a
/// body bounds), `Invalid` with a pointer into the data for what the event cannot
/// carry or what would change its envelope.
pub fn with_data(event: &Event, data: Data, limits: &Limits) -> Result<Event, Fault> {
    let is_rows = event.event_type.as_str().starts_with(ROWS);
    match (&event.data, &data) {
        (_, Data::None) => return Err(Fault::invalid("", "is missing")),
        (Data::Base64(_), Data::Json(_)) => {
            return Err(Fault::invalid("", "the event carries bytes: send data_base64"));
        }
        (Data::Json(_), Data::Base64(_)) => {
            return Err(Fault::invalid("", "the event carries JSON: send data"));
        }
        (_, Data::Base64(text)) => {
            check_bytes(text.len(), limits)?;
            if !matches!(event.origin, Origin::CloudEvent { .. }) {
                return Err(Fault::invalid("", "only a CloudEvent carries bytes: send data"));
            }
            STANDARD
                .decode(text.as_bytes())
                .map_err(|_| Fault::invalid("", "must be standard base64 with padding"))?;
        }
        (_, Data::Json(json)) => {
            if !is_rows {
                check_bytes(json.get().len(), limits)?;
            }
            // The rows of an event stand in an array.
            let depth = limits.json_depth + usize::from(is_rows);
            if !nests_at_most(json.get().as_bytes(), depth) {
                return Err(Fault::invalid("", format!("nested deeper than {depth} levels")));
            }
            check_members(event, json.get(), is_rows)?;
        }
    }
    Ok(Event { data, ..event.clone() })
}

fn check_bytes(bytes: usize, limits: &Limits) -> Result<(), Fault> {
    if bytes <= limits.event_bytes {
        return Ok(());
    }
    let detail = format!("the data has {bytes} bytes, an event at most {}", limits.event_bytes);
    Err(Fault::too_large("", detail))
}

/// Whether JSON data contradicts the envelope, by the form that the event came in.
fn check_members(event: &Event, json: &str, is_rows: bool) -> Result<(), Fault> {
    match &event.origin {
        Origin::CloudEvent { .. } => Ok(()),
        Origin::MessageAttributes { .. } => {
            let members = object(json)?;
            match ENVELOPE.into_iter().find(|name| members.get(name).is_some()) {
                None => Ok(()),
                Some(name) => {
                    let detail = "belongs to the envelope, which stays as it is; leave it out";
                    Err(Fault::invalid(format!("/{name}"), detail))
                }
            }
        }
        Origin::Flat => {
            let members = object(json)?;
            let attempt = members.get("retrace_intent").map(|raw| attempt_of(raw.get(), "/retrace_intent"));
            stays("client", members.text("client", "")?, |text| text == event.client.as_str())?;
            stays("trace_id", members.text("trace_id", "")?, |text| is_trace(event, text))?;
            stays("published_on", members.text("published_on", "")?, |text| {
                event.time.as_deref() == Some(text)
            })?;
            stays("retrace_intent", attempt.transpose()?.flatten(), |text| {
                event.attempt.as_deref() == Some(text)
            })
        }
        // A row names nothing, and what is no object has no members.
        Origin::Plain if is_rows || !json.starts_with('{') => Ok(()),
        Origin::Plain => {
            let members = Members::parse(json, "")?;
            // Members of another type than text are mere data.
            let texts = |name: &'static str| {
                let values = members.0.iter().filter(move |(other, _)| other == name);
                values.filter_map(|(_, value)| super::unquote(value.get()))
            };
            texts("client")
                .try_for_each(|text| stays("client", Some(text), |text| text == event.client.as_str()))?;
            texts("trace_id").try_for_each(|text| stays("trace_id", Some(text), |text| is_trace(event, text)))
        }
    }
}

/// The members of data that has to be an object without duplicates.
fn object(json: &str) -> Result<Members<'_>, Fault> {
    let members = Members::parse(json, "")?;
    members.unique("")?;
    Ok(members)
}

/// Whether a text names the event's trace, in whichever spelling.
fn is_trace(event: &Event, text: &str) -> bool {
    TraceId::from_given(text).id == event.trace.id
}

/// Refuses a member that says something else than the envelope; an empty text
/// says nothing.
fn stays<'t>(
    name: &str,
    given: Option<impl Into<Cow<'t, str>>>,
    same: impl Fn(&str) -> bool,
) -> Result<(), Fault> {
    let given = given.map(Into::into).filter(|text| !text.is_empty());
    if given.is_none_or(|text| same(&text)) {
        return Ok(());
    }
    let detail = "an edit changes the data of an event, not its envelope: leave this as it was";
    Err(Fault::invalid(format!("/{name}"), detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Arrival, from_flat, from_json, to_cloudevent};
    use crate::json::RawJson;
    use uuid::Uuid;

    const LIMITS: Limits = Limits {
        body_bytes: 1_000,
        event_bytes: 300,
        json_depth: 3,
        field_bytes: 100,
        batch_entries: 10,
        rows: 10,
        answer_bytes: 1_000,
        queue_events: 10,
        lease_max: 10,
        wait_ms_max: 10,
        lease_ms_max: 10,
        concurrent_requests: 1,
        rule_depth: 1,
        consumer_connections: 1,
        consumer_connections_per_key: 1,
    };

    fn arrival<'a>(event_type: Option<&'a crate::EventType>) -> Arrival<'a> {
        Arrival {
            principal: "key:1",
            client: "acme".parse().unwrap(),
            event_type,
            source: None,
            traceparent: None,
            message_id: None,
            request: None,
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            new_id: Uuid::from_u128(1),
            limits: &LIMITS,
        }
    }

    fn read(body: &str, event_type: Option<&str>) -> Event {
        let event_type = event_type.map(|text| text.parse().unwrap());
        from_json(body.as_bytes(), &arrival(event_type.as_ref())).unwrap().event
    }

    fn json(text: &str) -> Data {
        Data::Json(RawJson::parse(text.to_owned()).unwrap())
    }

    fn pointer(event: &Event, data: &str) -> String {
        with_data(event, json(data), &LIMITS).unwrap_err().pointer
    }

    const CLOUD: &str =
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b","subject":"x","data":{"n":1.10}}"#;

    #[test]
    fn only_the_data_changes_and_keeps_its_digits() {
        let event = read(CLOUD, None);
        let edited = with_data(&event, json(r#"{"n":9007199254740993,"client":"other"}"#), &LIMITS).unwrap();
        assert_eq!(edited.data, json(r#"{"n":9007199254740993,"client":"other"}"#));
        assert_eq!(Event { data: event.data.clone(), ..edited.clone() }, event);
        let shown = to_cloudevent(&edited);
        assert!(shown.contains(r#""subject":"x""#) && shown.contains("9007199254740993"), "{shown}");
    }

    #[test]
    fn data_does_not_contradict_the_envelope() {
        let plain = read(r#"{"client":"bolt","trace_id":"t-1","n":1}"#, Some("a.b"));
        assert!(with_data(&plain, json(r#"{"client":"bolt","trace_id":"t-1","n":2}"#), &LIMITS).is_ok());
        assert!(with_data(&plain, json(r#"{"n":2}"#), &LIMITS).is_ok());
        assert!(with_data(&plain, json(r#"{"client":7}"#), &LIMITS).is_ok(), "mere data");
        assert!(with_data(&plain, json("[1]"), &LIMITS).is_ok());
        assert_eq!(pointer(&plain, r#"{"client":"acme"}"#), "/client");
        assert_eq!(pointer(&plain, r#"{"trace_id":"t-2"}"#), "/trace_id");

        let attributes = r#"{"client":"bolt","n":1,"MessageAttributes":{"event_type":"a.b"}}"#;
        let attributes = read(attributes, None);
        assert!(with_data(&attributes, json(r#"{"n":2}"#), &LIMITS).is_ok());
        for name in ENVELOPE {
            assert_eq!(pointer(&attributes, &format!(r#"{{"{name}":"bolt"}}"#)), format!("/{name}"));
        }
        assert_eq!(pointer(&attributes, r#"{"n":1,"n":2}"#), "/n");
        assert_eq!(pointer(&attributes, "[]"), "");

        let flat = r#"{"client":"bolt","trace_id":"t-1","published_on":"2026-01-01","retrace_intent":1}"#;
        let event_type = "a.b".parse().unwrap();
        let flat = from_flat(flat.as_bytes(), &event_type, &arrival(None)).unwrap().event;
        assert!(with_data(&flat, json(r#"{"client":"bolt","retrace_intent":1,"n":2}"#), &LIMITS).is_ok());
        for (name, value) in
            [("client", "acme"), ("trace_id", "t-2"), ("published_on", "2026-01-02"), ("retrace_intent", "2")]
        {
            assert_eq!(pointer(&flat, &format!(r#"{{"{name}":"{value}"}}"#)), format!("/{name}"));
        }
    }

    #[test]
    fn rows_have_columns_of_any_name() {
        let rows = read(r#"{"client":"x"}"#, Some("orderwire.rows.air"));
        assert!(with_data(&rows, json(r#"[{"client":"y","trace_id":"z"}]"#), &LIMITS).is_ok());
    }

    #[test]
    fn json_stays_json_and_bytes_stay_bytes() {
        let event = read(CLOUD, None);
        let bytes = |text: &str| Data::Base64(text.to_owned());
        assert!(with_data(&event, bytes("AAE="), &LIMITS).is_err());
        assert!(with_data(&event, Data::None, &LIMITS).is_err());
        let binary = CLOUD.replace(r#""data":{"n":1.10}"#, r#""data_base64":"AAE=""#);
        let binary = read(&binary, None);
        assert_eq!(with_data(&binary, bytes("AAI="), &LIMITS).unwrap().data, bytes("AAI="));
        assert!(with_data(&binary, bytes("?"), &LIMITS).is_err());
        assert!(with_data(&binary, json("1"), &LIMITS).is_err());
        let plain = read(r#"{"n":1}"#, Some("a.b"));
        assert!(with_data(&Event { data: Data::None, ..plain }, bytes("AAI="), &LIMITS).is_err());
    }

    #[test]
    fn data_is_bounded_as_at_the_edge() {
        let event = read(CLOUD, None);
        let long = with_data(&event, json(&format!("\"{}\"", "x".repeat(400))), &LIMITS).unwrap_err();
        assert_eq!(long.kind, crate::FaultKind::TooLarge);
        assert!(with_data(&event, json("[[[1]]]"), &LIMITS).is_ok());
        assert!(with_data(&event, json("[[[[1]]]]"), &LIMITS).is_err());
    }
}
