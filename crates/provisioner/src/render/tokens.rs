//! Placeholders: what templates print in place of values.
//!
//! A placeholder is a mark, 128 random bits that are new for each rendering, and
//! the number of its value, all in characters of a private-use area: no reader of
//! YAML gives them a meaning, no filter for letters or digits changes them, and no
//! value can contain one, because whoever chose the value did not know the bits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use minijinja::value::Value as TemplateValue;
use minijinja::{Environment, Error, ErrorKind};
use serde_json::Value;

use super::values;

/// Where a placeholder begins.
const MARK: char = '\u{E100}';
/// The sixteen digits follow from here.
const DIGIT: u32 = 0xE110;
/// The digits of a value's number.
const INDEX_DIGITS: usize = 6;
/// The most bytes of the values that a rendering prints.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The values that a rendering has printed, by their placeholders.
#[derive(Clone)]
pub(super) struct Tokens {
    prefix: Arc<str>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    values: Vec<Value>,
    /// About how much they take.
    bytes: usize,
}

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'t> {
    /// As it stands in the template.
    Literal(&'t str),
    /// The value with this number.
    Token(usize),
}

impl Tokens {
    pub(super) fn new() -> Self {
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let digits = nonce.chars().map(|c| digit(c.to_digit(16).expect("a UUID is written in hex")));
        let prefix: String = std::iter::once(MARK).chain(digits).collect();
        Self { prefix: prefix.into(), kept: Arc::default() }
    }

    /// Makes everything that is printed a placeholder.
    pub(super) fn install(&self, environment: &mut Environment<'_>) {
        let tokens = self.clone();
        environment.set_formatter(move |out, _, value| {
            let token = tokens.keep(values::from_template(value)?)?;
            out.write_str(&token).map_err(Error::from)
        });
        // A block or macro is text with placeholders in it: what changes each character
        // has to see the values.
        let tokens = self.clone();
        let escape = move |value: &TemplateValue| -> Result<String, Error> {
            let value = tokens.resolve(values::from_template(value)?).map_err(wrong)?;
            Ok(escape_html(&text_of(&value).map_err(wrong)?))
        };
        environment.add_filter("e", escape.clone());
        environment.add_filter("escape", escape);
        let tokens = self.clone();
        environment.add_filter("tojson", move |value: &TemplateValue| -> Result<String, Error> {
            let value = tokens.resolve(values::from_template(value)?).map_err(wrong)?;
            Ok(value.to_string())
        });
    }

    /// Gives a value its placeholder. Texts of blocks in it are written out now, so that
    /// what is kept holds no placeholder and cannot grow later.
    fn keep(&self, value: Value) -> Result<String, Error> {
        let value = self.resolve(value).map_err(wrong)?;
        let mut kept = self.kept();
        kept.bytes += size(&value);
        let index = kept.values.len();
        if kept.bytes > KEPT_BYTES_MAX || index >> (4 * INDEX_DIGITS) > 0 {
            return Err(wrong("the templates print more than 16 MiB of values; print less".to_owned()));
        }
        kept.values.push(value);
        let digits = (0..INDEX_DIGITS).rev().map(|i| {
            let value = (index >> (4 * i)) & 0xf;
            digit(u32::try_from(value).expect("four bits"))
        });
        Ok(self.prefix.chars().chain(digits).collect())
    }

    /// A text in its parts, literals and placeholders.
    ///
    /// # Errors
    /// When it holds a piece of a placeholder.
    pub(super) fn parts<'t>(&self, text: &'t str) -> Result<Vec<Part<'t>>, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(&*self.prefix) {
            let after = &rest[at + self.prefix.len()..];
            let Some((index, rest_after)) = read_index(after) else { return Err(cut()) };
            if at > 0 {
                parts.push(Part::Literal(&rest[..at]));
            }
            parts.push(Part::Token(index));
            rest = rest_after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest));
        }
        let middle = self.prefix.char_indices().nth(17).map_or(0, |(at, _)| at);
        let (head, tail) = self.prefix.split_at(middle);
        let is_piece = |part: &Part<'_>| matches!(part, Part::Literal(text) if text.contains(head) || text.contains(tail));
        if parts.iter().any(is_piece) { Err(cut()) } else { Ok(parts) }
    }

    /// The value of a placeholder.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn value(&self, index: usize) -> Result<Value, String> {
        self.kept().values.get(index).cloned().ok_or_else(cut)
    }

    /// A value with the placeholders in its texts written out.
    ///
    /// # Errors
    /// When a text holds a piece of a placeholder, or a value that is no scalar.
    fn resolve(&self, value: Value) -> Result<Value, String> {
        match value {
            Value::String(text) => self.resolve_text(text).map(Value::String),
            Value::Array(items) => items.into_iter().map(|item| self.resolve(item)).collect(),
            Value::Object(entries) => entries
                .into_iter()
                .map(|(key, value)| Ok((self.resolve_text(key)?, self.resolve(value)?)))
                .collect::<Result<_, String>>()
                .map(Value::Object),
            other => Ok(other),
        }
    }

    fn resolve_text(&self, text: String) -> Result<String, String> {
        let parts = self.parts(&text)?;
        if parts.iter().all(|part| matches!(part, Part::Literal(_))) {
            return Ok(text);
        }
        let mut whole = String::new();
        for part in parts {
            match part {
                Part::Literal(literal) => whole.push_str(literal),
                Part::Token(index) => whole.push_str(&text_of(&self.value(index)?)?),
            }
            if whole.len() > super::OUTPUT_BYTES_MAX {
                return Err("a text is larger than 1 MiB".to_owned());
            }
        }
        Ok(whole)
    }

    /// A line for people: placeholders as `{{…}}`.
    pub(super) fn shown(&self, line: &str) -> String {
        let parts = self.parts(line).unwrap_or_default();
        parts
            .into_iter()
            .map(|part| match part {
                Part::Literal(text) => text,
                Part::Token(_) => "{{…}}",
            })
            .collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The text of a scalar, as it is put into a longer one.
///
/// # Errors
/// For null, lists and maps.
pub(super) fn text_of(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Null => Err("the value is null and cannot be part of a text; give it a default".to_owned()),
        Value::Array(_) | Value::Object(_) => {
            Err("a list or map cannot be part of a text; let the placeholder stand alone, without quotes"
                .to_owned())
        }
    }
}

/// About how much a value takes.
pub(super) fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 8,
        Value::Array(items) => items.iter().map(size).sum::<usize>() + 8,
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| key.len() + size(value)).sum::<usize>() + 8
        }
        _ => 8,
    }
}

fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#x27;"),
            other => escaped.push(other),
        }
    }
    escaped
}

fn digit(value: u32) -> char {
    char::from_u32(DIGIT + value).expect("sixteen characters of the private-use area")
}

fn read_index(text: &str) -> Option<(usize, &str)> {
    let mut chars = text.chars();
    let mut index = 0;
    for _ in 0..INDEX_DIGITS {
        let value = u32::from(chars.next()?).checked_sub(DIGIT).filter(|value| *value < 16)?;
        index = index << 4 | usize::try_from(value).expect("four bits");
    }
    Some((index, chars.as_str()))
}

fn cut() -> String {
    "a filter has cut a block of text where a value stands; use the filter on the value itself".to_owned()
}

fn wrong(detail: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail)
}
