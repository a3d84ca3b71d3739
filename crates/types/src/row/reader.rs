//! JSON rows. This is the hot path of ingest.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::Value;
use super::extra::Extra;
use super::parse::{self, NUMBER, TIME};
use crate::array;
use crate::dataset::{DatasetDef, EXTRA, FieldType, Unknown};
use crate::decimal::Decimal;
use crate::envelope::{Name, escape_pointer, parse_rfc3339, unquote};
use crate::json::nests_at_most;
use crate::limits::Limits;
use crate::problem::{Fault, FaultKind};

/// The most bytes that the texts of a row's key have together: PostgreSQL makes no entry of an
/// index of more than 2,704, the client and the other columns of the key among them.
pub const KEY_BYTES: usize = 1_024;

/// Reads rows of one dataset.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) columns: Vec<Column>,
    pub(super) index: HashMap<Box<str>, usize>,
    pub(super) unknown: Unknown,
    /// Where what is kept beyond the fields has its place, behind them.
    pub(super) extra: Option<usize>,
    pub(super) row_bytes: usize,
    pub(super) field_bytes: usize,
    pub(super) json_depth: usize,
    /// The texts of the key, whose length is checked.
    pub(super) key: Vec<usize>,
    /// Whether a column has a default.
    pub(super) defaults: bool,
    /// Whether rows may be of an earlier definition.
    pub(super) past: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: Box<str>,
    pub(super) field_type: FieldType,
    pub(super) required: bool,
    /// What a row has that does not name it.
    pub(super) default: Option<Value<'static>>,
}

impl Reader {
    /// A reader for this definition, which has no faults.
    pub fn new(def: &DatasetDef, limits: &Limits) -> Self {
        let column = |field: &crate::dataset::Field| Column {
            name: field.name.as_str().into(),
            field_type: field.field_type,
            required: field.required,
            default: field.default_value().ok().flatten(),
        };
        let columns: Vec<Column> = def.columns().map(column).collect();
        let index: HashMap<Box<str>, usize> =
            columns.iter().enumerate().map(|(i, column)| (column.name.clone(), i)).collect();
        let key = def.key.iter().filter_map(|name| index.get(name.as_str()).copied());
        Self {
            key: key.filter(|i| columns[*i].field_type == FieldType::Text).collect(),
            extra: index.get(EXTRA).copied(),
            index,
            columns,
            unknown: def.unknown,
            row_bytes: limits.event_bytes,
            field_bytes: limits.field_bytes,
            json_depth: limits.json_depth,
            defaults: def.fields.iter().any(|field| field.default.is_some()),
            past: false,
        }
    }

    /// The same for rows that were accepted: a key may be longer, as it might be before its
    /// length was checked, and it is for the engine to say whether it keeps it.
    #[must_use]
    pub fn for_recording(self) -> Self {
        Self { key: Vec::new(), ..self }
    }

    /// The same for rows that were accepted by an earlier definition: fields that the dataset
    /// has no more are left out, or kept where it keeps them, a date is the first moment of a
    /// timestamp that it was widened to, and a timestamp the day in UTC that it was cut to. Where
    /// fields are kept, one that is no value of its column was taken before there was the column,
    /// and stays kept.
    #[must_use]
    pub fn for_the_past(&self) -> Self {
        let unknown = if self.extra.is_some() { Unknown::Keep } else { Unknown::Ignore };
        Self { past: true, unknown, ..self.clone() }
    }

    /// Reads one row, an object, into `out`: one value per
    /// [column](DatasetDef::columns), in their order. `out` is emptied first; after a fault its content is
    /// of no use.
    ///
    /// # Errors
    /// `Malformed` when it is not JSON, `TooLarge` over a limit of size,
    /// `Invalid` with the pointer of the field otherwise.
    pub fn read<'a>(&self, json: &'a str, out: &mut Vec<Value<'a>>) -> Result<(), Fault> {
        out.clear();
        if json.len() > self.row_bytes {
            return Err(Fault::too_large(
                "",
                format!("the row has {} bytes, at most {} are taken", json.len(), self.row_bytes),
            ));
        }
        out.resize(self.columns.len(), Value::Null);
        let mut fault = None;
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let row = Row { reader: self, out, fault: &mut fault, extra: Extra::default() };
        let read = row.deserialize(&mut deserializer).and_then(|()| deserializer.end());
        if let Some(fault) = fault {
            return Err(fault);
        }
        read.map_err(|err| match err.classify() {
            Category::Data => Fault::invalid("", "a row must be a JSON object"),
            _ => Fault::malformed(format!("not JSON: {err}")),
        })?;
        for (column, value) in self.columns.iter().zip(out.iter()) {
            if column.required && *value == Value::Null {
                return Err(column.missing());
            }
        }
        let mut bytes = 0;
        self.key.iter().try_for_each(|&i| match &out[i] {
            Value::Text(text) => self.columns[i].add_to_key(&mut bytes, text),
            _ => Ok(()),
        })
    }

    /// The position of a column, tried first at `expected`: rows tend to come
    /// in the order of the definition.
    fn position(&self, name: &str, expected: usize) -> Option<usize> {
        match self.columns.get(expected) {
            Some(column) if *column.name == *name => Some(expected),
            _ => self.index.get(name).copied(),
        }
    }

    /// The value of a field from its JSON.
    fn value<'a>(&self, column: &Column, raw: &'a str) -> Result<Value<'a>, Fault> {
        let wrong = |detail: &str| Err(Fault::invalid(column.pointer(), detail));
        if raw == "null" {
            return Ok(Value::Null);
        }
        let first = raw.as_bytes().first().copied().unwrap_or_default();
        let number = first == b'-' || first.is_ascii_digit();
        match column.field_type {
            FieldType::Text => {
                let Some(text) = unquote(raw) else {
                    return wrong(if first == b'"' { "must be valid Unicode" } else { "must be a string" });
                };
                self.check_text(column, &text)?;
                Ok(Value::Text(text))
            }
            FieldType::Integer if number => match raw.parse() {
                Ok(integer) => Ok(Value::Integer(integer)),
                Err(_) if raw.contains(['.', 'e', 'E']) => {
                    wrong("must be an integer without fraction and exponent")
                }
                Err(_) => wrong("must be an integer of 64 bits"),
            },
            FieldType::Integer => wrong("must be an integer"),
            FieldType::Float if number => match raw.parse::<f64>() {
                // Zero has no sign: not every engine would keep it.
                Ok(float) if float.is_finite() => Ok(Value::Float(float + 0.0)),
                _ => wrong("must be within the range of a 64-bit float"),
            },
            FieldType::Float => wrong("must be a number"),
            FieldType::Decimal if number => match raw.parse::<Decimal>() {
                Ok(decimal) => Ok(Value::Decimal(decimal)),
                Err(_) => wrong(parse::DECIMAL),
            },
            FieldType::Decimal => wrong(NUMBER),
            FieldType::Boolean => match raw {
                "true" => Ok(Value::Boolean(true)),
                "false" => Ok(Value::Boolean(false)),
                _ => wrong("must be true or false"),
            },
            FieldType::Timestamp => match unquote(raw).as_deref().and_then(parse_rfc3339) {
                Some(moment) => Ok(Value::Timestamp(parse::to_micros(moment))),
                None if self.past => match unquote(raw).as_deref().and_then(parse::date) {
                    Some(date) => Ok(Value::Timestamp(parse::widened(date))),
                    None => wrong(TIME),
                },
                None => wrong(TIME),
            },
            FieldType::Date => match unquote(raw).as_deref().and_then(parse::date) {
                Some(date) => Ok(Value::Date(date)),
                None if self.past => match unquote(raw).as_deref().and_then(parse_rfc3339) {
                    Some(moment) => Ok(Value::Date(parse::day(moment))),
                    None => wrong(parse::DATE),
                },
                None => wrong(parse::DATE),
            },
            FieldType::Uuid => match unquote(raw).as_deref().and_then(parse::uuid) {
                Some(id) => Ok(Value::Uuid(id)),
                None => wrong(parse::UUID),
            },
            FieldType::Json => {
                self.check_json(column, raw)?;
                Ok(Value::Json(raw.into()))
            }
            FieldType::Texts => {
                self.check_size(column, raw)?;
                let Some(texts) = array::from_json(raw) else { return wrong(parse::TEXTS) };
                texts.iter().try_for_each(|text| self.check_text(column, text))?;
                Ok(Value::Texts(texts))
            }
        }
    }

    pub(super) fn check_text(&self, column: &Column, text: &str) -> Result<(), Fault> {
        self.check_size(column, text)?;
        if text.as_bytes().contains(&0) {
            return Err(Fault::invalid(column.pointer(), "must not hold NUL"));
        }
        Ok(())
    }

    pub(super) fn check_json(&self, column: &Column, raw: &str) -> Result<(), Fault> {
        self.check_size(column, raw)?;
        // The row itself is the first level.
        if raw.starts_with(['{', '[']) && !nests_at_most(raw.as_bytes(), self.json_depth.saturating_sub(1)) {
            let detail = format!("nested deeper than {} levels", self.json_depth);
            return Err(Fault::invalid(column.pointer(), detail));
        }
        Ok(())
    }

    pub(super) fn check_size(&self, column: &Column, text: &str) -> Result<(), Fault> {
        if text.len() > self.field_bytes {
            let detail =
                format!("the value has {} bytes, at most {} are taken", text.len(), self.field_bytes);
            return Err(Fault::too_large(column.pointer(), detail));
        }
        Ok(())
    }

    pub(super) fn unknown_field(name: &str) -> Fault {
        let shown: String = name.chars().take(64).collect();
        Fault::invalid(format!("/{}", escape_pointer(name)), format!("the dataset has no field {shown:?}"))
    }
}

impl Column {
    pub(super) fn pointer(&self) -> String {
        // Column names hold nothing that a pointer escapes.
        format!("/{}", self.name)
    }

    pub(super) fn missing(&self) -> Fault {
        Fault::invalid(self.pointer(), "the field is required")
    }

    /// Counts a text of a key.
    pub(super) fn add_to_key(&self, bytes: &mut usize, text: &str) -> Result<(), Fault> {
        *bytes += text.len();
        if *bytes > KEY_BYTES {
            let detail = format!(
                "the texts of a key have at most {KEY_BYTES} bytes together: shorten them, or keep what is long in \
                 a column that is not of the key"
            );
            return Err(Fault::invalid(self.pointer(), detail));
        }
        Ok(())
    }
}

/// Which fields were there, so that a second one is noticed even if it is null.
#[derive(Default)]
struct Seen([u64; 8], Vec<usize>);

impl Seen {
    fn has(&self, i: usize) -> bool {
        match self.0.get(i / 64) {
            Some(word) => word & (1u64 << (i % 64)) != 0,
            None => self.1.contains(&i),
        }
    }

    /// Notes a field; false when it was noted before.
    fn insert(&mut self, i: usize) -> bool {
        let Some(word) = self.0.get_mut(i / 64) else {
            // Definitions end at 500 fields; a larger one is merely slower.
            let new = !self.1.contains(&i);
            self.1.push(i);
            return new;
        };
        let bit = 1u64 << (i % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

struct Row<'r, 'a> {
    reader: &'r Reader,
    out: &'r mut [Value<'a>],
    extra: Extra<'a>,
    /// The fault, because an error of the parser is only text.
    fault: &'r mut Option<Fault>,
}

impl<'de> DeserializeSeed<'de> for Row<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Row<'_, 'de> {
    /// Takes a member that is no column.
    fn unknown<A: MapAccess<'de>>(&mut self, name: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        let taken = match self.reader.unknown {
            Unknown::Reject => Err(Reader::unknown_field(&name)),
            Unknown::Ignore => return map.next_value::<IgnoredAny>().map(drop),
            Unknown::Keep => self.extra.keep(self.reader, name, map.next_value::<&RawValue>()?.get()),
        };
        taken.map_err(|fault| self.faulty("unknown field", fault))
    }

    /// Whether a value that its column does not take was accepted before there was the column.
    fn is_of_before(&self, column: &Column, fault: &Fault) -> bool {
        let may_lack = !column.required || column.default.is_some();
        self.reader.past && self.reader.extra.is_some() && may_lack && fault.kind == FaultKind::Invalid
    }

    fn faulty<E: Error>(&mut self, what: &str, fault: Fault) -> E {
        *self.fault = Some(fault);
        E::custom(what)
    }
}

impl<'de> Visitor<'de> for Row<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut seen = Seen::default();
        let mut expected = 0;
        while let Some(Name(name)) = map.next_key()? {
            let Some(i) = self.reader.position(&name, expected) else {
                self.unknown(name, &mut map)?;
                continue;
            };
            expected = i + 1;
            let column = &self.reader.columns[i];
            let raw: &'de RawValue = map.next_value()?;
            let is_extra = self.reader.extra == Some(i);
            let may_be_here = seen.insert(i) || is_extra && self.reader.past;
            let value = if !may_be_here {
                Err(Fault::invalid(column.pointer(), "the field is there twice"))
            } else if is_extra {
                self.extra.keep_all(self.reader, raw.get()).map(|()| Value::Null)
            } else {
                match self.reader.value(column, raw.get()) {
                    Err(fault) if self.is_of_before(column, &fault) => {
                        let default = column.default.clone().unwrap_or(Value::Null);
                        self.extra.keep(self.reader, name, raw.get()).map(|()| default)
                    }
                    value => value,
                }
            };
            self.out[i] = value.map_err(|fault| self.faulty::<A::Error>("faulty field", fault))?;
        }
        if let Some(i) = self.reader.extra {
            self.out[i] = std::mem::take(&mut self.extra).into_value();
        }
        if self.reader.defaults {
            for (i, column) in self.reader.columns.iter().enumerate().filter(|(i, _)| !seen.has(*i)) {
                if let Some(default) = &column.default {
                    self.out[i] = default.clone();
                }
            }
        }
        Ok(())
    }
}
