//! The flat form: one object in which envelope and data lie side by side.
//!
//! It comes from broker queues whose settings name its type. In, the members
//! `client`, `trace_id`, `published_on` and `retrace_intent` are read and the
//! whole object stays the data, so that it goes out again as it came. Out, an
//! event of another form gets the members that a consumer needs; data that is
//! no object, or says something else under one of those names, is nested as
//! `data`.

use super::arrival::{Arrival, Draft, Incoming};
use super::members::{Members, Writer, checked, unquote};
use super::message_attributes::{attempt_of, time_of};
use super::plain::raw;
use crate::event::{Data, Event, Origin};
use crate::ids::TraceId;
use crate::names::EventType;
use crate::problem::Fault;

/// Reads the flat form.
///
/// # Errors
/// `Malformed` when the body is not UTF-8 or not JSON, `TooLarge` beyond the
/// limit of one event, `Invalid` with the pointer of the member that is wrong.
pub fn from_flat(body: &[u8], event_type: &EventType, arrival: &Arrival<'_>) -> Result<Incoming, Fault> {
    let text = checked(body, arrival.limits)?;
    let members = Members::parse(text, "")?;
    members.unique("")?;
    let client = members.text("client", "")?;
    let trace = members.text("trace_id", "")?.filter(|trace| !trace.is_empty());
    let time = members.text("published_on", "")?;
    let attempt =
        members.get("retrace_intent").map(|raw| attempt_of(raw.get(), "/retrace_intent")).transpose()?;
    Ok(arrival.complete(Draft {
        event_type: event_type.clone(),
        client: arrival.client_of(client.as_deref(), "/client")?,
        source: arrival.own_source(),
        key: None,
        time: time_of(time, "/published_on")?,
        trace: trace.map(|trace| TraceId::from_given(&trace)),
        attempt: attempt.flatten(),
        cause: None,
        produced: None,
        content: None,
        origin: Origin::Flat,
        data: Data::Json(raw(text.trim())),
    }))
}

/// The event in the flat form.
pub fn to_flat(event: &Event) -> String {
    let mut envelope = vec![("client", event.client.to_string()), ("trace_id", event.trace.to_string())];
    if event.origin != Origin::Flat {
        envelope.extend([
            ("event_id", event.id.to_string()),
            ("event_type", event.event_type.to_string()),
            ("published_on", event.time.clone().unwrap_or_else(|| event.accepted_at.to_string())),
            ("retrace_intent", event.attempt.clone().unwrap_or_else(|| "0".into())),
        ]);
    }
    let mut out = Writer::with_capacity(512);
    let members = spread(event, |name, json| match envelope.iter().find(|(other, _)| *other == name) {
        Some((_, value)) => says(json, value),
        None => true,
    });
    // Data that names its members itself keeps their order and spelling.
    let in_data = |name: &str| {
        members.as_ref().is_some_and(|members| {
            members.get(name).is_some_and(|json| unquote(json.get()).is_some_and(|text| !text.is_empty()))
        })
    };
    for (name, value) in envelope.iter().filter(|(name, _)| !in_data(name)) {
        out.text(name, value);
    }
    match &members {
        Some(members) => {
            let known = |name: &str| envelope.iter().any(|(other, _)| *other == name);
            for (name, json) in members.0.iter().filter(|(name, _)| !known(name) || in_data(name)) {
                out.raw(name, json.get());
            }
        }
        None => nest(event, &mut out),
    }
    out.finish()
}

/// The members of data that can lie beside an envelope: an object without
/// duplicates, each of whose members `fits`.
pub(super) fn spread(event: &Event, fits: impl Fn(&str, &str) -> bool) -> Option<Members<'_>> {
    let Data::Json(json) = &event.data else { return None };
    let members = Members::parse(json.get(), "").ok()?;
    let fits = members.unique("").is_ok() && members.0.iter().all(|(name, json)| fits(name, json.get()));
    fits.then_some(members)
}

/// Whether a member of the data says what the envelope says, or nothing at all.
pub(super) fn says(json: &str, value: &str) -> bool {
    json == "null" || unquote(json).is_some_and(|text| text.is_empty() || text == value)
}

/// Writes data that cannot lie beside an envelope.
pub(super) fn nest(event: &Event, out: &mut Writer) {
    match &event.data {
        Data::None => {}
        Data::Json(json) => out.raw("data", json.get()),
        Data::Base64(text) => out.text("data_base64", text),
    }
}
