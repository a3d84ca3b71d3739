//! Plain JSON on a typed path: the body is the data, nothing is taken out.
//!
//! A string `client` names the client and a string `trace_id` the trace, as in
//! every other form; members of another type are mere data. A row
//! (`orderwire.rows.<dataset>`) names nothing: its columns may have any name.

use std::borrow::Cow;

use super::arrival::{Arrival, Draft, Incoming};
use super::members::{Members, check_text, not_json, unquote};
use crate::event::{Data, Origin};
use crate::ids::TraceId;
use crate::json::RawJson;
use crate::names::{Client, EventType};
use crate::problem::Fault;

/// The types whose body is a row.
pub(super) const ROWS: &str = "orderwire.rows.";

/// Reads plain JSON; `members` are those of an object.
pub(super) fn read(
    text: &str,
    members: Option<&Members<'_>>,
    arrival: &Arrival<'_>,
) -> Result<Incoming, Fault> {
    let Some(event_type) = arrival.event_type else {
        return Err(Fault::invalid(
            "",
            "the event has no type: send a CloudEvent (specversion, id, source, type) or message-attributes JSON \
             (MessageAttributes.event_type), or post plain JSON to /v1/events/{type}",
        ));
    };
    let members = members.filter(|_| !event_type.as_str().starts_with(ROWS));
    let client = named(members, "client")?;
    let trace = named(members, "trace_id")?;
    let client = arrival.client_of(client.as_deref(), "/client")?;
    let trace = trace.map(|trace| TraceId::from_given(&trace));
    Ok(arrival.complete(draft(event_type, client, trace, raw(text), arrival)))
}

/// The event of one row that [`row::Reader`](crate::row::Reader) has checked:
/// the short way of ingest, without detection of the form. `event_type` is
/// `orderwire.rows.<dataset>`; the row names neither client nor trace.
///
/// # Errors
/// `Malformed` when the row is not JSON after all.
pub fn from_row(row: &str, event_type: &EventType, arrival: &Arrival<'_>) -> Result<Incoming, Fault> {
    let row = RawJson::parse(row.trim().to_owned()).map_err(|err| not_json(&err))?;
    Ok(arrival.complete(draft(event_type, arrival.client.clone(), None, row, arrival)))
}

fn draft(
    event_type: &EventType,
    client: Client,
    trace: Option<TraceId>,
    data: RawJson,
    arrival: &Arrival<'_>,
) -> Draft {
    Draft {
        event_type: event_type.clone(),
        client,
        source: arrival.own_source(),
        key: None,
        time: None,
        trace,
        attempt: None,
        cause: None,
        produced: None,
        content: None,
        origin: Origin::Plain,
        data: Data::Json(data),
    }
}

/// JSON that was parsed before.
pub(super) fn raw(text: &str) -> RawJson {
    RawJson::parse(text.to_owned()).expect("the text was parsed as JSON before")
}

/// The text of a member, if it is a non-empty string; it must not be there twice.
fn named<'a>(members: Option<&Members<'a>>, name: &str) -> Result<Option<Cow<'a, str>>, Fault> {
    let Some(members) = members else { return Ok(None) };
    let mut values = members.0.iter().filter(|(other, _)| other == name).map(|(_, value)| *value);
    let pointer = || format!("/{name}");
    let text = values.next().and_then(|value| unquote(value.get()));
    // Which of two a reader takes is its own choice, and so no name at all.
    if values.next().is_some() {
        return Err(Fault::invalid(pointer(), "the member is there twice"));
    }
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    check_text(&text, pointer)?;
    Ok(Some(text))
}
