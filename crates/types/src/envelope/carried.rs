//! The form in which an event goes through a broker on its way from the gateway to the
//! queue: a structured CloudEvent as the body, which everybody can read, and beside it
//! the context, which only Orderwire needs. Body and context together are the whole
//! event again, whichever form it came in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::cloudevents::to_cloudevent;
use super::members::{Members, not_json, unquote};
use super::plain::raw;
use crate::event::{Data, Event};
use crate::problem::Fault;

/// An event in the form in which brokers carry it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The storage form of the event without its data, in base64, so that it can be the
    /// value of a header and nothing of its spelling changes.
    pub context: String,
    /// The event as a structured CloudEvent.
    pub body: String,
}

/// The event in the form in which brokers carry it.
pub fn to_carried(mut event: Event) -> Carried {
    let body = to_cloudevent(&event);
    event.data = Data::None;
    Carried { context: STANDARD.encode(event.encode()), body }
}

/// The event that was carried. The two must be known to come from [`to_carried`]:
/// nothing of it is checked against limits.
///
/// # Errors
/// When one of them is damaged or of a later version.
pub fn from_carried(context: &str, body: &[u8]) -> Result<Event, Fault> {
    let context = STANDARD.decode(context).map_err(|_| Fault::malformed("the context is not base64"))?;
    let mut event = Event::decode(&context).map_err(|err| not_json(&err))?;
    let text = std::str::from_utf8(body).map_err(|err| Fault::malformed(format!("not UTF-8: {err}")))?;
    let members = Members::parse(text, "")?;
    event.data = match (members.get("data"), members.get("data_base64")) {
        (Some(json), _) => Data::Json(raw(json.get())),
        (None, Some(text)) => Data::Base64(
            unquote(text.get())
                .ok_or_else(|| Fault::invalid("/data_base64", "must be a string"))?
                .into_owned(),
        ),
        (None, None) => Data::None,
    };
    Ok(event)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::envelope::{Arrival, from_binary, from_json};
    use crate::limits::Limits;
    use crate::names::Client;

    fn arrival(limits: &Limits) -> Arrival<'_> {
        Arrival {
            principal: "key:1",
            client: Client::default_client(),
            event_type: None,
            source: None,
            traceparent: None,
            message_id: None,
            request: None,
            now: Timestamp::UNIX_EPOCH,
            new_id: Uuid::from_u128(7),
            limits,
        }
    }

    #[test]
    fn every_form_is_the_same_event_behind_the_broker() {
        let limits = Limits::default();
        let attributes = r#"{"client":"acme","environment":"dev","n":9007199254740993,
            "MessageAttributes":{"event_type":{"Type":"String","Value":"shop.order.event.client.published"},
            "published_on":"2023.01.2.23.02.642883101","trace_id":"9a2ae9de-3f82-4f55-966b-47df50ff51ff",
            "retrace_intent":"0"},"Metadata":{"host":"h\u00e9","origing":"Cloud","publisher":"größe 😀"}}"#;
        let cloud = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b","subject":"ü",
            "partitionkey":"k","data":{"x":5.122996,"y":"-23.831520","z":null}}"#;
        let nothing = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b"}"#;
        let bytes = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b","data_base64":"AAEC"}"#;
        let mut events: Vec<Event> = [attributes, cloud, nothing, bytes]
            .map(|text| from_json(text.as_bytes(), &arrival(&limits)).unwrap().event)
            .into();
        let headers = [("specversion", "1.0"), ("id", "9"), ("source", "/s"), ("type", "a.b")];
        let binary = from_binary(headers.into_iter(), Some("text/plain"), b"hello", &arrival(&limits));
        events.push(binary.unwrap().event);
        events[0].may_order = true;
        events[1].depth = 7;
        for event in events {
            let Carried { context, body } = to_carried(event.clone());
            assert!(context.bytes().all(|byte| byte.is_ascii_graphic()), "{context}");
            assert_eq!(from_carried(&context, body.as_bytes()).unwrap(), event);
        }
    }

    #[test]
    fn what_was_never_carried_is_refused() {
        let limits = Limits::default();
        let event =
            from_json(br#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b"}"#, &arrival(&limits));
        let Carried { context, body } = to_carried(event.unwrap().event);
        for (context, body) in
            [("{}", body.as_bytes()), (&context, b"[1]"), (&context, b"\xff"), ("x", b"{}")]
        {
            assert!(from_carried(context, body).is_err(), "{context}");
        }
    }
}
