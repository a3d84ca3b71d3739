//! The rows of an event, read once for every engine.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind};
use crate::model::RowsEvent;

/// Calls `row` with the JSON of each row: the elements of an array, or what
/// else it is.
///
/// # Errors
/// `Invalid` when they are not JSON; what `row` returns.
pub fn each_row<'a, E: From<Error>>(
    event: &'a RowsEvent,
    mut row: impl FnMut(&'a str) -> Result<(), E>,
) -> Result<(), E> {
    let text = event.rows.get();
    if !text.starts_with('[') {
        return row(text);
    }
    let mut failure = None;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = Rows { row: &mut row, failure: &mut failure }.deserialize(&mut deserializer);
    match (failure, read) {
        (Some(failure), _) => Err(failure),
        (None, Err(error)) => Err(unreadable(event, &error).into()),
        (None, Ok(())) => Ok(()),
    }
}

fn unreadable(event: &RowsEvent, error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("rows of event {}: not JSON: {error}", event.event_id))
}

struct Rows<'c, F, E> {
    row: &'c mut F,
    /// The failure, because an error of the parser is only text.
    failure: &'c mut Option<E>,
}

impl<'de, F: FnMut(&'de str) -> Result<(), E>, E> DeserializeSeed<'de> for Rows<'_, F, E> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(&'de str) -> Result<(), E>, E> Visitor<'de> for Rows<'_, F, E> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some(raw) = rows.next_element::<&'de RawValue>()? {
            if let Err(failure) = (self.row)(raw.get()) {
                *self.failure = Some(failure);
                return Err(A::Error::custom("faulty row"));
            }
        }
        Ok(())
    }
}
