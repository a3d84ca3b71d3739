//! Message-attributes JSON, as existing producers send it.
//!
//! In, `client`, `MessageAttributes` and `Metadata` are the envelope and the
//! rest of the object is the data. An attribute may be a string or
//! `{"Type","Value"}`; a spelling other than the usual one is kept for the way
//! out. Out, what is missing is filled in; an event of another form brings its
//! id, source and attributes along as further `MessageAttributes`.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;

use super::arrival::{Arrival, Draft, Incoming};
use super::cloudevents::is_known;
use super::flat::{nest, says, spread};
use super::members::{Members, Writer, check_text, minify, text, unquote};
use super::plain::raw;
use super::time::parse_time;
use crate::event::{Data, Event, Origin};
use crate::identity::{self, ContentHash};
use crate::ids::TraceId;
use crate::json::RawJson;
use crate::problem::Fault;

/// The attributes that have a field of their own, in the order of the way out.
const KNOWN: [&str; 4] = ["event_type", "published_on", "trace_id", "retrace_intent"];
const ATTRIBUTES: &str = "/MessageAttributes";

/// Reads message-attributes JSON.
pub(super) fn read(members: &Members<'_>, arrival: &Arrival<'_>) -> Result<Incoming, Fault> {
    members.unique("")?;
    let attributes = match members.get("MessageAttributes") {
        Some(raw) => Members::parse(raw.get(), ATTRIBUTES)?,
        None => Members(Vec::new()),
    };
    attributes.unique(ATTRIBUTES)?;
    let metadata = match members.get("Metadata").filter(|raw| raw.get() != "null") {
        Some(raw) => Some((raw, Members::parse(raw.get(), "/Metadata")?)),
        None => None,
    };
    let source = match &metadata {
        Some((_, metadata)) => {
            metadata.unique("/Metadata")?;
            source_of(metadata)?
        }
        None => None,
    };
    let source = source.unwrap_or_else(|| arrival.own_source());
    let client = members.text("client", "")?;
    let client = arrival.client_of(client.as_deref(), "/client")?;
    let event_type = attribute(&attributes, "event_type")?;
    let event_type = arrival.type_of(event_type.as_deref(), "/MessageAttributes/event_type")?;
    let trace = attribute(&attributes, "trace_id")?;
    let content =
        trace.is_some().then(|| identity::content_id(&client, &source, &digest(members, &attributes)));
    let retraced = attributes
        .get("retrace_intent")
        .map(|raw| attempt_of(value_of(raw.get()).as_ref(), "/MessageAttributes/retrace_intent"));
    let draft = Draft {
        event_type,
        client,
        source,
        key: None,
        time: time_of(attribute(&attributes, "published_on")?, "/MessageAttributes/published_on")?,
        trace: trace.map(|trace| TraceId::from_given(&trace)),
        attempt: retraced.transpose()?.flatten(),
        cause: None,
        produced: None,
        content,
        origin: Origin::Plain,
        data: Data::Json(business(members)),
    };
    let mut incoming = arrival.complete(draft);
    incoming.event.origin = Origin::MessageAttributes {
        metadata: metadata.map(|(given, _)| RawJson((*given).to_owned())),
        attributes: kept(&attributes, &incoming.event),
    };
    Ok(incoming)
}

/// The event as message-attributes JSON.
pub fn to_message_attributes(event: &Event) -> String {
    let mut out = Writer::with_capacity(1024);
    out.text("client", event.client.as_str());
    let fits = |name: &str, json: &str| match name {
        "client" => says(json, event.client.as_str()),
        "MessageAttributes" | "Metadata" => false,
        _ => true,
    };
    match spread(event, fits) {
        Some(members) => {
            for (name, json) in members.0.iter().filter(|(name, _)| name != "client") {
                out.raw(name, json.get());
            }
        }
        None => nest(event, &mut out),
    }
    out.raw("MessageAttributes", &attributes_out(event));
    match &event.origin {
        Origin::MessageAttributes { metadata: Some(metadata), .. } => out.raw("Metadata", metadata.get()),
        _ => out.raw("Metadata", &metadata_out(&event.source)),
    }
    out.finish()
}

/// A time that must be readable, in the producer's spelling.
pub(super) fn time_of(given: Option<Cow<'_, str>>, pointer: &str) -> Result<Option<String>, Fault> {
    let Some(given) = given.filter(|given| !given.is_empty()) else { return Ok(None) };
    if parse_time(&given).is_none() {
        return Err(Fault::invalid(
            pointer,
            "must be a time: %Y.%m.%d.%H.%M.%N as in 2023.01.2.23.02.642883101, a date or RFC 3339",
        ));
    }
    Ok(Some(given.into_owned()))
}

/// An attempt counter: a string or a number, as given.
pub(super) fn attempt_of(raw: &str, pointer: &str) -> Result<Option<String>, Fault> {
    let text = if raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        check_text(raw, || pointer.to_owned())?;
        Some(Cow::Borrowed(raw))
    } else {
        text(raw, || pointer.to_owned())?
    };
    Ok(text.filter(|text| !text.is_empty()).map(Cow::into_owned))
}

/// The text of a known attribute; empty is as good as missing.
fn attribute<'a>(attributes: &Members<'a>, name: &str) -> Result<Option<Cow<'a, str>>, Fault> {
    let Some(raw) = attributes.get(name) else { return Ok(None) };
    let pointer = || format!("{ATTRIBUTES}/{name}");
    let value = match raw.get().strip_prefix('{') {
        None => text(raw.get(), pointer)?,
        Some(_) => {
            let members = Members::parse(raw.get(), &pointer())?;
            members.unique(&pointer())?;
            members.text("Value", &pointer())?
        }
    };
    Ok(value.filter(|value| !value.is_empty()))
}

/// The JSON of an attribute's value, be it bare or in `{"Type","Value"}`.
fn value_of(raw: &str) -> Cow<'_, str> {
    match raw.starts_with('{').then(|| Members::parse(raw, "")) {
        Some(Ok(members)) => {
            members.get("Value").map_or(Cow::Borrowed("null"), |value| Cow::Borrowed(value.get()))
        }
        _ => Cow::Borrowed(raw),
    }
}

/// `/{publisher}/{host}` with what is not allowed in a path segment
/// percent-encoded; `None` when the metadata names neither.
fn source_of(metadata: &Members<'_>) -> Result<Option<String>, Fault> {
    let part = |name| Ok(metadata.text(name, "/Metadata")?.filter(|part| !part.is_empty()));
    let (publisher, host) = (part("publisher")?, part("host")?);
    let mut source = String::new();
    match (publisher, host) {
        (None, None) => return Ok(None),
        (Some(publisher), None) => encode_segment(&mut source, &publisher),
        (publisher, Some(host)) => {
            encode_segment(&mut source, publisher.as_deref().unwrap_or_default());
            encode_segment(&mut source, &host);
        }
    }
    Ok(Some(source))
}

fn encode_segment(out: &mut String, segment: &str) {
    use std::fmt::Write;
    out.push('/');
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a string takes everything");
        }
    }
}

/// The members that are not envelope, as one object.
fn business(members: &Members<'_>) -> RawJson {
    let mut out = Writer::with_capacity(256);
    for (name, value) in &members.0 {
        if !matches!(name.as_ref(), "client" | "MessageAttributes" | "Metadata") {
            out.raw(name, value.get());
        }
    }
    raw(&out.finish())
}

/// What the usual way out would not say: further attributes, and the known
/// ones whose spelling differs from the usual.
fn kept(attributes: &Members<'_>, event: &Event) -> Vec<(String, RawJson)> {
    let differs = |name: &str, given: &RawValue| {
        let given = minify(given.get());
        KNOWN.contains(&name) && !says(&value_of(&given), "") && given != usual(name, event)
    };
    attributes
        .0
        .iter()
        .filter(|(name, given)| !KNOWN.contains(&name.as_ref()) || differs(name, given))
        .map(|(name, given)| (name.clone().into_owned(), RawJson((*given).to_owned())))
        .collect()
}

/// The usual JSON of a known attribute.
fn usual(name: &str, event: &Event) -> String {
    let json = |text: &str| {
        let mut out = String::with_capacity(text.len() + 2);
        super::write_text(&mut out, text);
        out
    };
    match name {
        "event_type" => typed("String", &json(event.event_type.as_str())),
        "published_on" => match &event.time {
            Some(time) => json(time),
            None => json(&event.accepted_at.to_string()),
        },
        "trace_id" => json(&event.trace.to_string()),
        _ => json(event.attempt.as_deref().unwrap_or("0")),
    }
}

fn attributes_out(event: &Event) -> String {
    let mut out = Writer::with_capacity(512);
    let further: &[(String, RawJson)] = match &event.origin {
        Origin::MessageAttributes { attributes, .. } | Origin::CloudEvent { attributes, .. } => attributes,
        Origin::Plain | Origin::Flat => &[],
    };
    let ours = matches!(event.origin, Origin::MessageAttributes { .. });
    for name in KNOWN {
        match further.iter().find(|(other, _)| ours && other == name) {
            Some((_, given)) => out.raw(name, given.get()),
            None => out.raw(name, &usual(name, event)),
        }
    }
    if ours {
        for (name, given) in further.iter().filter(|(name, _)| !KNOWN.contains(&name.as_str())) {
            out.raw(name, given.get());
        }
        return out.finish();
    }
    let mut text = |name: &str, text: &str| {
        let mut json = String::new();
        super::write_text(&mut json, text);
        out.raw(name, &typed("String", &json));
    };
    text("event_id", &event.id.to_string());
    text("source", &event.source);
    if let Origin::CloudEvent { id, .. } = &event.origin {
        text("id", id);
    }
    if let Some(key) = &event.key {
        text("partitionkey", key);
    }
    if let Some(cause) = event.cause {
        text("causeid", &cause.to_string());
    }
    for (name, json) in further.iter().filter(|(name, _)| !is_known(name)) {
        let kind = match json.get().as_bytes().first() {
            Some(b'"') => "String",
            Some(b't' | b'f') => "Boolean",
            _ => "Number",
        };
        out.raw(name, &typed(kind, json.get()));
    }
    out.finish()
}

fn typed(kind: &str, value: &str) -> String {
    format!(r#"{{"Type":"{kind}","Value":{value}}}"#)
}

/// Metadata from a source: publisher and host where it has that shape.
fn metadata_out(source: &str) -> String {
    let mut out = Writer::with_capacity(128);
    let path = source.strip_prefix('/').unwrap_or(source);
    match path.split_once('/') {
        Some((publisher, host)) if !host.is_empty() && !host.contains('/') && source.starts_with('/') => {
            out.text("host", host);
            out.text("publisher", publisher);
        }
        _ => out.text("publisher", path),
    }
    out.finish()
}

/// SHA-256 of the body without `retrace_intent`. The order of the members of
/// the body, of `MessageAttributes` and of `Metadata` does not count, nor does
/// white space anywhere; the order inside business values does.
fn digest(members: &Members<'_>, attributes: &Members<'_>) -> [u8; 32] {
    let mut hash = ContentHash::default();
    let mut sorted: Vec<_> = members.0.iter().filter(|(name, _)| name != "MessageAttributes").collect();
    sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    hash.update(&(sorted.len() as u64).to_be_bytes());
    for (name, value) in sorted {
        hash.update(name.as_bytes());
        match Members::parse(value.get(), "") {
            Ok(nested) if name == "Metadata" => hash_object(&mut hash, &nested, ""),
            _ => hash.update(minify(value.get()).as_bytes()),
        }
    }
    hash_object(&mut hash, attributes, "retrace_intent");
    hash.finish()
}

fn hash_object(hash: &mut ContentHash, members: &Members<'_>, without: &str) {
    let mut sorted: Vec<_> = members.0.iter().filter(|(name, _)| name != without).collect();
    sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    hash.update(&(sorted.len() as u64).to_be_bytes());
    for (name, value) in sorted {
        hash.update(name.as_bytes());
        hash.update(minify(value.get()).as_bytes());
    }
}

/// The scalar members of metadata and further attributes that can be
/// CloudEvents extensions, so that nothing a consumer may need is lost there.
pub(super) fn as_extensions(
    metadata: Option<&RawJson>,
    attributes: &[(String, RawJson)],
) -> Vec<(String, String)> {
    let metadata = metadata.and_then(|metadata| Members::parse(metadata.get(), "").ok());
    let metadata =
        metadata.iter().flat_map(|members| &members.0).map(|(name, json)| (name.as_ref(), json.get()));
    let attributes = attributes.iter().filter(|(name, _)| !KNOWN.contains(&name.as_str()));
    let attributes = attributes.map(|(name, json)| (name.as_str(), json.get()));
    let mut extensions: Vec<(String, String)> = Vec::new();
    // A set, because hostile metadata may hold 100,000 members.
    let mut taken = HashSet::new();
    for (name, json) in metadata.chain(attributes) {
        let json = value_of(json);
        let scalar = match json.as_bytes().first() {
            Some(b'"') => unquote(&json).is_some_and(|text| !text.chars().any(char::is_control)),
            Some(b'{' | b'[' | b'n') | None => false,
            Some(_) => true,
        };
        let valid = !name.is_empty()
            && name.len() <= 20
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if scalar && valid && !is_known(name) && name != "datacontenttype" && taken.insert(name) {
            extensions.push((name.to_owned(), json.into_owned()));
        }
    }
    extensions
}
