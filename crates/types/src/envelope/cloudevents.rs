//! CloudEvents 1.0: the JSON format, and what both modes share.
//!
//! Every attribute comes out as it came in. Beside the producer's `id` stands
//! `eventid`, the identity inside; `client`, `time` and `traceparent` are
//! filled in. `traceid` and `publishedon` hold the producer's spelling where
//! `traceparent` and `time` cannot.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::arrival::{Arrival, Draft, Incoming};
use super::members::{Members, Writer, escape_pointer, minify, text, unquote, write_text};
use super::message_attributes::{as_extensions, attempt_of};

use super::time::{parse_rfc3339, parse_time};
use super::trace::{parse_traceparent, traceparent};
use crate::event::{Data, Event, Origin};
use crate::identity;
use crate::ids::{EventId, TraceId};
use crate::json::RawJson;
use crate::problem::Fault;

/// Attributes whose value follows from the event, in the order of the way out.
const DERIVED: [&str; 6] = ["time", "traceparent", "traceid", "attempt", "causeid", "publishedon"];

/// Whether an attribute has a field of its own.
pub(super) fn is_known(name: &str) -> bool {
    matches!(name, "specversion" | "id" | "source" | "type" | "client" | "partitionkey" | "eventid" | "data")
        || name == "data_base64"
        || DERIVED.contains(&name)
}

/// The context attributes of one event, checked for name and type.
#[derive(Default)]
pub(super) struct Attributes<'a>(Vec<(Cow<'a, str>, Cow<'a, RawValue>)>);

impl<'a> Attributes<'a> {
    /// Takes an attribute; null is as good as absent.
    pub(super) fn push(&mut self, name: Cow<'a, str>, value: Cow<'a, RawValue>) -> Result<(), Fault> {
        let pointer = || format!("/{}", escape_pointer(&name));
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            return Err(Fault::invalid(pointer(), "the name of an attribute is made of a-z and 0-9"));
        }
        if value.get().starts_with(['{', '[']) {
            return Err(Fault::invalid(pointer(), "an attribute must be a string, a number or a boolean"));
        }
        if value.get() != "null" {
            self.0.push((name, value));
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_ref())
    }

    fn text(&self, name: &str) -> Result<Option<Cow<'_, str>>, Fault> {
        let text = self.get(name).map(|value| text(value.get(), || format!("/{name}")));
        Ok(text.transpose()?.flatten())
    }

    /// The text of an attribute that must not be empty if it is there.
    fn filled(&self, name: &str) -> Result<Option<Cow<'_, str>>, Fault> {
        match self.text(name)? {
            Some(text) if text.is_empty() => Err(Fault::invalid(format!("/{name}"), "must not be empty")),
            text => Ok(text),
        }
    }

    fn required(&self, name: &str) -> Result<Cow<'_, str>, Fault> {
        self.filled(name)?.ok_or_else(|| Fault::invalid(format!("/{name}"), "a CloudEvent must have it"))
    }
}

/// Reads a structured CloudEvent.
pub(super) fn read(members: &Members<'_>, arrival: &Arrival<'_>) -> Result<Incoming, Fault> {
    members.unique("")?;
    let mut attributes = Attributes::default();
    let mut data = Data::None;
    for (name, value) in &members.0 {
        match name.as_ref() {
            "data" | "data_base64" if data != Data::None => {
                return Err(Fault::invalid("/data_base64", "an event has data or data_base64, not both"));
            }
            "data" => data = Data::Json(RawJson((*value).to_owned())),
            "data_base64" => data = base64_of(value.get())?,
            _ => attributes.push(name.clone(), Cow::Borrowed(*value))?,
        }
    }
    complete(&attributes, data, arrival)
}

/// Makes an event of attributes and data.
pub(super) fn complete(
    attributes: &Attributes<'_>,
    data: Data,
    arrival: &Arrival<'_>,
) -> Result<Incoming, Fault> {
    if attributes.required("specversion")? != "1.0" {
        return Err(Fault::invalid("/specversion", "must be 1.0"));
    }
    let mut seen: Vec<&str> = attributes.0.iter().map(|(name, _)| name.as_ref()).collect();
    seen.sort_unstable();
    if let Some(pair) = seen.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Fault::invalid(format!("/{}", pair[0]), "the attribute is there twice"));
    }
    for name in ["subject", "datacontenttype", "dataschema"] {
        attributes.filled(name)?;
    }
    let id = attributes.required("id")?.into_owned();
    let source = attributes.required("source")?.into_owned();
    let event_type = attributes.filled("type")?;
    let event_type = arrival.type_of(event_type.as_deref(), "/type")?;
    let client = attributes.text("client")?;
    let client = arrival.client_of(client.as_deref(), "/client")?;
    let attempt = attributes.get("attempt").map(|value| attempt_of(value.get(), "/attempt")).transpose()?;
    let produced = Some(identity::produced_id(&client, &source, &id));
    let mut incoming = arrival.complete(Draft {
        event_type,
        source,
        client,
        key: attributes.filled("partitionkey")?.map(Cow::into_owned),
        time: time(attributes)?,
        trace: trace(attributes)?,
        attempt: attempt.flatten(),
        cause: attributes.text("causeid")?.and_then(|cause| cause.parse::<EventId>().ok()),
        produced,
        content: None,
        origin: Origin::Plain,
        data,
    });
    let attributes = kept(attributes, &incoming.event);
    incoming.event.origin = Origin::CloudEvent { id, attributes };
    Ok(incoming)
}

/// The event as a structured CloudEvent.
pub fn to_cloudevent(event: &Event) -> String {
    let mut out = Writer::with_capacity(1024);
    out.text("specversion", "1.0");
    let event_id = event.id.to_string();
    match &event.origin {
        Origin::CloudEvent { id, .. } => out.text("id", id),
        _ => out.text("id", &event_id),
    }
    out.text("source", &event.source);
    out.text("type", event.event_type.as_str());
    let given: &[(String, RawJson)] = match &event.origin {
        Origin::CloudEvent { attributes, .. } => attributes,
        _ => &[],
    };
    for name in DERIVED {
        if let Some((_, json)) = given.iter().find(|(other, _)| other == name) {
            out.raw(name, json.get());
        } else if let Some(value) = derived(name, event) {
            out.text(name, &value);
        }
    }
    out.text("client", event.client.as_str());
    if let Some(key) = &event.key {
        out.text("partitionkey", key);
    }
    out.text("eventid", &event_id);
    for (name, json) in given.iter().filter(|(name, _)| !is_known(name)) {
        out.raw(name, json.get());
    }
    if let Origin::MessageAttributes { metadata, attributes } = &event.origin {
        for (name, json) in as_extensions(metadata.as_ref(), attributes) {
            out.raw(&name, &json);
        }
    }
    match &event.data {
        Data::None => {}
        Data::Json(json) => out.raw("data", json.get()),
        Data::Base64(text) => out.text("data_base64", text),
    }
    out.finish()
}

fn base64_of(value: &str) -> Result<Data, Fault> {
    let wrong = || Fault::invalid("/data_base64", "must be a string in standard base64 with padding");
    if value == "null" {
        return Ok(Data::None);
    }
    let text = unquote(value).ok_or_else(wrong)?;
    STANDARD.decode(text.as_bytes()).map_err(|_| wrong())?;
    Ok(Data::Base64(text.into_owned()))
}

/// The producer's spelling of the time: `publishedon` where it means the same
/// moment as `time`, else `time`.
fn time(attributes: &Attributes<'_>) -> Result<Option<String>, Fault> {
    let Some(time) = attributes.text("time")? else { return Ok(None) };
    let moment = parse_rfc3339(&time).ok_or_else(|| Fault::invalid("/time", "must be a time of RFC 3339"))?;
    let spelled = attributes.get("publishedon").and_then(|value| unquote(value.get()));
    Ok(Some(spelled.filter(|spelled| parse_time(spelled) == Some(moment)).unwrap_or(time).into_owned()))
}

fn trace(attributes: &Attributes<'_>) -> Result<Option<TraceId>, Fault> {
    if let Some(trace) = attributes.text("traceid")?.filter(|trace| !trace.is_empty()) {
        return Ok(Some(TraceId::from_given(&trace)));
    }
    let header = attributes.text("traceparent")?;
    Ok(header.as_deref().and_then(parse_traceparent).map(TraceId::from_uuid))
}

/// What the usual way out would not say: further attributes, and the derived
/// ones whose spelling differs from the usual.
fn kept(attributes: &Attributes<'_>, event: &Event) -> Vec<(String, RawJson)> {
    let keep = |name: &str, value: &RawValue| match name {
        // A producer's own span stays, unless it belongs to another trace.
        "traceparent" => {
            unquote(value.get()).is_some_and(|text| parse_traceparent(&text) == Some(event.trace.id))
        }
        name if DERIVED.contains(&name) => {
            value.get() != r#""""# && minify(value.get()) != usual(name, event)
        }
        name => !is_known(name),
    };
    let kept = attributes.0.iter().filter(|(name, value)| keep(name, value));
    kept.map(|(name, value)| (name.clone().into_owned(), RawJson(value.clone().into_owned()))).collect()
}

fn usual(name: &str, event: &Event) -> String {
    let mut json = String::new();
    if let Some(value) = derived(name, event) {
        write_text(&mut json, &value);
    }
    json
}

/// The value of a derived attribute, if the event needs it.
fn derived<'e>(name: &str, event: &'e Event) -> Option<Cow<'e, str>> {
    let time = event.time.as_deref();
    let is_rfc3339 = time.is_some_and(|time| parse_rfc3339(time).is_some());
    match name {
        "time" if is_rfc3339 => time.map(Cow::Borrowed),
        "time" => Some(Cow::Owned(time.and_then(parse_time).unwrap_or(event.accepted_at).to_string())),
        "publishedon" if is_rfc3339 => None,
        "publishedon" => time.map(Cow::Borrowed),
        "traceparent" => Some(Cow::Owned(traceparent(event))),
        "traceid" => event.trace.given.as_deref().map(Cow::Borrowed),
        "attempt" => event.attempt.as_deref().map(Cow::Borrowed),
        _ => event.cause.map(|cause| Cow::Owned(cause.to_string())),
    }
}
