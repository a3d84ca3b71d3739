//! Which form a body has, and how a body of many events is cut.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::arrival::{Arrival, Incoming};
use super::members::{Members, checked, not_json};
use super::{cloudevents, message_attributes, plain};
use crate::problem::Fault;

/// Reads one event whose form is detected: an object with `specversion` is a
/// structured CloudEvent, one with `MessageAttributes` is message-attributes,
/// anything else is plain JSON of the path's type.
///
/// # Errors
/// `Malformed` when the body is not UTF-8 or not JSON, `TooLarge` beyond the
/// limit of one event, `Invalid` with the pointer of the member that is wrong.
pub fn from_json(body: &[u8], arrival: &Arrival<'_>) -> Result<Incoming, Fault> {
    let text = checked(body, arrival.limits)?;
    if !text.trim_start().starts_with('{') {
        let value: &RawValue = serde_json::from_str(text).map_err(|err| not_json(&err))?;
        return plain::read(value.get(), None, arrival);
    }
    let members = Members::parse(text, "")?;
    if members.get("specversion").is_some() {
        cloudevents::read(&members, arrival)
    } else if members.get("MessageAttributes").is_some() {
        message_attributes::read(&members, arrival)
    } else {
        plain::read(text.trim(), Some(&members), arrival)
    }
}

/// Whether a document is an object that is neither a CloudEvent nor message-attributes:
/// the flat form, where its transport says that it may be.
pub fn is_flat(text: &str) -> bool {
    Members::parse(text, "").is_ok_and(|members| {
        members.get("specversion").is_none() && members.get("MessageAttributes").is_none()
    })
}

/// Cuts a CloudEvents JSON batch into its members, each as it was written.
///
/// # Errors
/// `Malformed` when the body is not a JSON array, `TooLarge` when it holds more
/// than `entries_max` members.
pub fn batch(body: &[u8], entries_max: usize) -> Result<Vec<&str>, Fault> {
    let text = std::str::from_utf8(body).map_err(|err| Fault::malformed(format!("not UTF-8: {err}")))?;
    if !text.trim_start().starts_with('[') {
        return Err(Fault::malformed("a batch must be a JSON array of CloudEvents"));
    }
    let mut over = false;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let entries = deserializer.deserialize_seq(Entries { max: entries_max, over: &mut over });
    let entries = entries.and_then(|entries| deserializer.end().map(|()| entries));
    if over {
        return Err(Fault::too_large("", format!("the batch holds more than {entries_max} events")));
    }
    entries.map_err(|err| not_json(&err))
}

/// The lines of NDJSON with their numbers (1 is the first), blank ones left out.
pub fn lines(body: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    body.split(|byte| *byte == b'\n')
        .enumerate()
        .map(|(i, line)| (i + 1, line.trim_ascii()))
        .filter(|(_, line)| !line.is_empty())
}

/// Collects the members of an array and gives up beyond a number of them, so
/// that a body of nothing but commas costs no memory.
struct Entries<'o> {
    max: usize,
    over: &'o mut bool,
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = Vec<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = seq.next_element::<&RawValue>()? {
            if entries.len() == self.max {
                *self.over = true;
                return Err(A::Error::custom("too many entries"));
            }
            entries.push(entry.get());
        }
        Ok(entries)
    }
}
