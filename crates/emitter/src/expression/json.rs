//! The JSON of an event on its way into expressions: read as far as it is asked for, and
//! printed as it was written.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use serde_json::value::RawValue;

use super::numbers::{self, Digits};

/// A list or object of a document.
pub(super) struct Json {
    document: Arc<str>,
    /// Where it stands in the document.
    span: Range<usize>,
    /// Whether its numbers are for computing with: such as keep their value become numbers of
    /// the engine, even if not spelled in its way.
    is_plain: bool,
    /// Read once somebody asks.
    parts: OnceLock<Parts>,
}

enum Parts {
    List(Vec<Value>),
    /// Of a member that is there twice the last one counts.
    Map(BTreeMap<String, Value>),
}

impl Json {
    /// The value that a whole document is.
    pub(super) fn document(text: &str) -> Value {
        let text: Arc<str> = text.trim().into();
        let span = 0..text.len();
        value(&text, span, false)
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.document[self.span.clone()]
    }

    /// The same for computing with.
    pub(super) fn plain(&self) -> Value {
        value(&self.document, self.span.clone(), true)
    }

    fn is_list(&self) -> bool {
        self.text().starts_with('[')
    }

    fn parts(&self) -> &Parts {
        self.parts.get_or_init(|| {
            let text = self.text();
            let read = |raw: &RawValue| {
                // A part that was not copied lies within the text.
                let from = self.span.start + (raw.get().as_ptr() as usize - text.as_ptr() as usize);
                value(&self.document, from..from + raw.get().len(), self.is_plain)
            };
            // The document was checked when the event was accepted; what could not be read
            // after all would have no parts.
            if self.is_list() {
                let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
                Parts::List(items.into_iter().map(read).collect())
            } else {
                let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
                Parts::Map(members.into_iter().map(|(name, raw)| (name, read(raw))).collect())
            }
        })
    }
}

/// A value of a document.
fn value(document: &Arc<str>, span: Range<usize>, is_plain: bool) -> Value {
    let text = &document[span.clone()];
    match text.as_bytes().first() {
        Some(b'{' | b'[') => {
            Value::from_object(Json { document: document.clone(), span, is_plain, parts: OnceLock::new() })
        }
        Some(b'"') => match serde_json::from_str::<String>(text) {
            Ok(text) => Value::from(text),
            // Half of a character: JSON has it, and text has not.
            Err(_) => Value::from_object(Digits(text.to_owned())),
        },
        Some(b't') => Value::from(true),
        Some(b'f') => Value::from(false),
        Some(b'n') | None => Value::from(()),
        Some(_) => numbers::read(text, is_plain),
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Object for Json {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.is_list() { ObjectRepr::Seq } else { ObjectRepr::Map }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match self.parts() {
            Parts::List(items) => items.get(key.as_usize()?).cloned(),
            Parts::Map(members) => members.get(key.as_str()?).cloned(),
        }
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match self.parts() {
            Parts::List(_) => None,
            Parts::Map(members) => members.get(key).cloned(),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.parts() {
            Parts::List(items) => Enumerator::Seq(items.len()),
            Parts::Map(members) => {
                Enumerator::Values(members.keys().map(|name| Value::from(name.as_str())).collect())
            }
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
