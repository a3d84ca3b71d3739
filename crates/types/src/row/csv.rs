//! CSV records as JSON rows.
//!
//! A CSV value has no type, so that it is read as its column's: an empty one
//! is null, a number stays as it is written, a boolean may also be `t`, `f`,
//! `1` or `0`, a time may lack its offset and then is in UTC, a date is its
//! first moment in UTC, and a list is PostgreSQL's literal (`{a,"b,c"}`) or a JSON array. One of
//! no column, where such are kept, is a text.

use std::collections::HashSet;

use super::Value;
use super::parse;
use super::reader::{Column, Reader};
use crate::array;
use crate::dataset::{FieldType, Unknown};
use crate::envelope::{escape_pointer, parse_csv_time, parse_rfc3339, write_text};
use crate::problem::Fault;

/// What each column of a CSV document holds, and how many bytes of a key each row has
/// from the defaults of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvHeader(Vec<Holds>, usize);

/// What a column of a CSV document holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Holds {
    /// A column of the dataset.
    Column(usize),
    /// What is kept under this name.
    Kept(Box<str>),
    /// Nothing that is taken.
    Nothing,
}

/// The line (from 1) in which a quote opens that nothing closes, if there is
/// one: the document was cut, or its quotes are wrong, and everything behind the
/// quote would be one value.
pub fn csv_open_quote(document: &[u8]) -> Option<u64> {
    enum At {
        Start,
        Plain,
        Quoted,
        Quote,
    }
    let document = document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document);
    let mut at = At::Start;
    let (mut line, mut opened) = (1, 1);
    for byte in document {
        at = match (at, byte) {
            (At::Start, b'"') => {
                opened = line;
                At::Quoted
            }
            (At::Quoted, b'"') => At::Quote,
            // Two quotes are one of the value.
            (At::Quoted, _) | (At::Quote, b'"') => At::Quoted,
            (_, b',' | b'\r' | b'\n') => At::Start,
            _ => At::Plain,
        };
        line += u64::from(*byte == b'\n');
    }
    matches!(at, At::Quoted).then_some(opened)
}

impl Reader {
    /// Maps the header record of a CSV document to the fields of the dataset.
    ///
    /// # Errors
    /// `Invalid` when a column is unknown and the dataset rejects that, is
    /// there twice, a required field has no column, or the defaults make too long a key.
    pub fn csv_header<'h>(&self, names: impl IntoIterator<Item = &'h str>) -> Result<CsvHeader, Fault> {
        let mut columns: Vec<Holds> = Vec::new();
        let mut kept = HashSet::new();
        for name in names {
            let name = if columns.is_empty() { name.trim_start_matches('\u{feff}') } else { name };
            let name = name.trim();
            let holds = match (self.index.get(name), self.unknown) {
                (Some(i), _) => Holds::Column(*i),
                (None, Unknown::Keep) => Holds::Kept(name.into()),
                (None, Unknown::Ignore) => Holds::Nothing,
                (None, Unknown::Reject) => return Err(Self::unknown_field(name)),
            };
            let is_new = match &holds {
                Holds::Column(_) => !columns.contains(&holds),
                Holds::Kept(_) => kept.insert(name),
                Holds::Nothing => true,
            };
            if !is_new {
                let pointer = format!("/{}", escape_pointer(name));
                return Err(Fault::invalid(pointer, "the column is there twice"));
            }
            columns.push(holds);
        }
        let has = |i: usize| columns.contains(&Holds::Column(i));
        let absent = |(i, column): &(usize, &Column)| column.required && column.default.is_none() && !has(*i);
        if let Some((_, column)) = self.columns.iter().enumerate().find(absent) {
            return Err(column.missing());
        }
        let mut key_bytes = 0;
        for &i in self.key.iter().filter(|i| !has(**i)) {
            if let Some(Value::Text(text)) = &self.columns[i].default {
                self.columns[i].add_to_key(&mut key_bytes, text)?;
            }
        }
        Ok(CsvHeader(columns, key_bytes))
    }

    /// The JSON of a row from the values of one record.
    ///
    /// # Errors
    /// As [`Reader::read`]; also when the record has more or fewer values than
    /// the header.
    pub fn read_csv<'r>(
        &self,
        header: &CsvHeader,
        record: impl IntoIterator<Item = &'r str>,
    ) -> Result<String, Fault> {
        let mut out = String::with_capacity(32 * header.0.len());
        out.push('{');
        let mut count = 0;
        let mut key_bytes = header.1;
        for value in record {
            let holds = header.0.get(count).unwrap_or(&Holds::Nothing);
            count += 1;
            let (name, column) = match holds {
                Holds::Nothing => continue,
                Holds::Kept(name) => (name, None),
                Holds::Column(i) => (&self.columns[*i].name, Some(*i)),
            };
            if out.len() > 1 {
                out.push(',');
            }
            write_text(&mut out, name);
            out.push(':');
            let Some(i) = column else {
                write_kept(value, &mut out);
                continue;
            };
            let column = &self.columns[i];
            if value.is_empty() && column.required {
                return Err(column.missing());
            }
            self.write_csv_value(column, value, &mut out)?;
            if self.key.contains(&i) {
                column.add_to_key(&mut key_bytes, value)?;
            }
        }
        out.push('}');
        if count != header.0.len() {
            let detail = format!("the record has {count} values, the header {} columns", header.0.len());
            return Err(Fault::invalid("", detail));
        }
        if out.len() > self.row_bytes {
            return Err(Fault::too_large("", format!("the row has more than {} bytes", self.row_bytes)));
        }
        if self.extra.is_some() {
            // What is kept has limits of its own, together.
            self.read(&out, &mut Vec::new())?;
        }
        Ok(out)
    }

    pub(super) fn write_csv_value(
        &self,
        column: &Column,
        value: &str,
        out: &mut String,
    ) -> Result<(), Fault> {
        let wrong = |detail: &str| Err(Fault::invalid(column.pointer(), detail));
        if value.is_empty() {
            out.push_str("null");
            return Ok(());
        }
        match column.field_type {
            FieldType::Text => {
                self.check_text(column, value)?;
                write_text(out, value);
            }
            FieldType::Integer => {
                if !is_number(value) || value.parse::<i64>().is_err() {
                    return wrong("must be an integer of 64 bits");
                }
                out.push_str(value);
            }
            FieldType::Float => {
                if !is_number(value) || !value.parse::<f64>().is_ok_and(f64::is_finite) {
                    return wrong("must be a finite number");
                }
                out.push_str(value);
            }
            FieldType::Decimal => {
                if !is_number(value) || value.parse::<crate::Decimal>().is_err() {
                    return wrong(parse::DECIMAL);
                }
                out.push_str(value);
            }
            FieldType::Date => match parse::date(value) {
                Some(date) => write_text(out, &date.to_string()),
                None => return wrong(parse::DATE),
            },
            FieldType::Uuid => match parse::uuid(value) {
                Some(id) => write_text(out, &id.to_string()),
                None => return wrong(parse::UUID),
            },
            FieldType::Texts => {
                self.check_text(column, value)?;
                let texts = match value.trim_start().starts_with('[') {
                    true => array::from_json(value).map(|texts| array::to_json(&texts)),
                    false => array::from_literal(value).ok().map(|texts| array::to_json(&texts)),
                };
                match texts {
                    Some(texts) => out.push_str(&texts),
                    None => return wrong("must be a list such as {a,\"b,c\"} or [\"a\",\"b,c\"]"),
                }
            }
            FieldType::Boolean => match value.to_ascii_lowercase().as_str() {
                "true" | "t" | "1" => out.push_str("true"),
                "false" | "f" | "0" => out.push_str("false"),
                _ => return wrong("must be true, false, t, f, 1 or 0"),
            },
            FieldType::Timestamp => match (parse_rfc3339(value), parse_csv_time(value)) {
                (Some(_), _) => write_text(out, value),
                (None, Some(moment)) => write_text(out, &moment.to_string()),
                (None, None) => {
                    return wrong(
                        "must be a time such as 2024-05-01T12:00:00Z or 2024-05-01 12:00:00, or a date",
                    );
                }
            },
            FieldType::Json => {
                self.check_json(column, value)?;
                match serde_json::from_str::<&serde_json::value::RawValue>(value) {
                    Ok(json) => out.push_str(json.get()),
                    Err(_) => return wrong("must be JSON"),
                }
            }
        }
        Ok(())
    }
}

/// Writes a value of no column.
pub(super) fn write_kept(value: &str, out: &mut String) {
    if value.is_empty() {
        out.push_str("null");
    } else {
        write_text(out, value);
    }
}

/// Whether a text is a number as JSON spells it.
fn is_number(text: &str) -> bool {
    let number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    number
        && text.ends_with(|c: char| c.is_ascii_digit())
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
