//! What a row brings beyond the fields of its dataset, where that is kept.

use std::borrow::Cow;
use std::collections::HashSet;

use super::Value;
use super::reader::Reader;
use crate::dataset::EXTRA;
use crate::envelope::{Members, escape_pointer, write_text};
use crate::json::nests_at_most;
use crate::problem::Fault;

/// The members that are kept of one row, each as it is written.
#[derive(Default)]
pub(super) struct Extra<'a> {
    text: String,
    names: HashSet<Cow<'a, str>>,
}

impl<'a> Extra<'a> {
    /// Keeps a member of the row. What was accepted as something to be passed over is kept as far as it
    /// can be: nothing of it makes a fault of the row.
    pub(super) fn keep(&mut self, reader: &Reader, name: Cow<'a, str>, raw: &str) -> Result<(), Fault> {
        if self.names.contains(&name) {
            return if reader.past {
                Ok(())
            } else {
                Err(Fault::invalid(pointer(&name), "the field is there twice"))
            };
        }
        // The row is the first level, and the object that it is kept in another one.
        let nests = || nests_at_most(raw.as_bytes(), reader.json_depth.saturating_sub(2));
        if !reader.past && raw.starts_with(['{', '[']) && !nests() {
            return Err(Fault::invalid(
                pointer(&name),
                format!("nested deeper than {} levels", reader.json_depth),
            ));
        }
        self.text.push(if self.names.is_empty() { '{' } else { ',' });
        write_text(&mut self.text, &name);
        self.text.push(':');
        self.text.push_str(raw);
        if !reader.past && self.text.len() >= reader.field_bytes {
            let detail = format!(
                "what the row brings beyond the fields has more than {} bytes together",
                reader.field_bytes
            );
            return Err(Fault::too_large(pointer(&name), detail));
        }
        self.names.insert(name);
        Ok(())
    }

    /// Keeps the members of `_extra`, which a row brings that was exported.
    pub(super) fn keep_all(&mut self, reader: &Reader, raw: &'a str) -> Result<(), Fault> {
        if raw == "null" {
            return Ok(());
        }
        match Members::parse(raw, &format!("/{EXTRA}")) {
            Ok(Members(members)) => {
                members.into_iter().try_for_each(|(name, value)| self.keep(reader, name, value.get()))
            }
            // It was a member like any other when the row was accepted.
            Err(_) if reader.past => self.keep(reader, EXTRA.into(), raw),
            Err(fault) => Err(fault),
        }
    }

    /// The object, if there is anything in it.
    pub(super) fn into_value(mut self) -> Value<'a> {
        if self.names.is_empty() {
            return Value::Null;
        }
        self.text.push('}');
        Value::Json(self.text.into())
    }
}

fn pointer(name: &str) -> String {
    format!("/{}", escape_pointer(name))
}
