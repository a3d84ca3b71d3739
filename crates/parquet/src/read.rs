//! The rows of a file, one by one, as JSON.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::civil::date;
use jiff::{Timestamp, ToSpan};
use parquet::basic::{LogicalType, TimeUnit};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;
use serde_json::value::RawValue;

use crate::Error;

/// The rows of a file.
pub struct Rows {
    iter: RowIter<'static>,
    hints: Vec<Hint>,
    /// As many as the file says that it has.
    pub total: u64,
    /// The number of the row that was read last, from 1.
    at: u64,
}

/// What the value of a column means beyond what the library tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hint {
    None,
    /// A text that is JSON.
    Json,
    /// An integer that counts nanoseconds since the epoch.
    Nanos,
    /// Bytes that are a UUID.
    Uuid,
}

impl Rows {
    /// Opens a file.
    ///
    /// # Errors
    /// When it is no Parquet file, or one whose form is not known here.
    pub fn open(file: File) -> Result<Self, Error> {
        guarded(0, || {
            let reader = SerializedFileReader::new(file)?;
            let meta = reader.metadata().file_metadata();
            let hints = meta.schema().get_fields().iter().map(|field| hint(field)).collect();
            let total = u64::try_from(meta.num_rows()).unwrap_or(0);
            Ok(Self { iter: RowIter::from_file_into(Box::new(reader)), hints, total, at: 0 })
        })
    }

    /// Puts the next row into `json`, an object; false at the end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn next(&mut self, json: &mut String) -> Result<bool, Error> {
        let at = self.at + 1;
        json.clear();
        let iter = &mut self.iter;
        let Some(row) = guarded(at, || Ok(iter.next().transpose()?))? else { return Ok(false) };
        self.at = at;
        json.push('{');
        for (i, (name, value)) in row.into_columns().into_iter().enumerate() {
            if i > 0 {
                json.push(',');
            }
            text(json, &name);
            json.push(':');
            let hint = self.hints.get(i).copied().unwrap_or(Hint::None);
            write(json, &value, hint)
                .map_err(|detail| Error::Invalid(format!("row {at}: column {name} {detail}")))?;
        }
        json.push('}');
        Ok(true)
    }
}

/// Does what the library may panic over: a file of other people may hold anything.
fn guarded<T>(row: u64, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let place = if row == 0 { "its schema".to_owned() } else { format!("row {row}") };
        Err(Error::Invalid(format!("{place} has a type, or bytes, that cannot be read")))
    })
}

fn hint(field: &Type) -> Hint {
    match field.get_basic_info().logical_type_ref() {
        Some(LogicalType::Json) => Hint::Json,
        Some(LogicalType::Uuid) => Hint::Uuid,
        Some(LogicalType::Timestamp(kind)) if kind.unit == TimeUnit::NANOS => Hint::Nanos,
        _ => Hint::None,
    }
}

/// Writes a value as JSON; what is wrong with it when there is no JSON for it.
fn write(out: &mut String, value: &Field, hint: Hint) -> Result<(), String> {
    match value {
        Field::Null => out.push_str("null"),
        Field::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
        Field::Long(nanos) if hint == Hint::Nanos => moment(out, Timestamp::from_nanosecond((*nanos).into()))?,
        Field::Byte(_)
        | Field::Short(_)
        | Field::Int(_)
        | Field::Long(_)
        | Field::UByte(_)
        | Field::UShort(_)
        | Field::UInt(_)
        | Field::ULong(_)
        // A number, digit for digit.
        | Field::Decimal(_) => out.push_str(&digits(value)),
        Field::Float16(number) => float(out, number.to_f32()),
        Field::Float(number) => float(out, *number),
        Field::Double(number) => double(out, *number),
        Field::Str(json) if hint == Hint::Json => match serde_json::from_str::<&RawValue>(json) {
            Ok(raw) => out.push_str(raw.get()),
            Err(_) => return Err("is marked as JSON and is none".to_owned()),
        },
        Field::Str(string) => text(out, string),
        Field::Bytes(bytes) if hint == Hint::Uuid && bytes.len() == 16 => uuid(out, bytes.data()),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(string) => text(out, string),
            Err(_) => return Err("holds bytes that are no text".to_owned()),
        },
        Field::Date(days) => {
            let day = date(1970, 1, 1).checked_add(i64::from(*days).days());
            text(out, &day.map_err(|_| "holds a date beyond the year 9999".to_owned())?.to_string());
        }
        Field::TimeMillis(_) | Field::TimeMicros(_) => text(out, &value.to_string()),
        Field::TimestampMillis(millis) => moment(out, Timestamp::from_millisecond(*millis))?,
        Field::TimestampMicros(micros) => moment(out, Timestamp::from_microsecond(*micros))?,
        Field::Group(row) => {
            let mut open = '{';
            for (name, value) in row.get_column_iter() {
                out.push(std::mem::replace(&mut open, ','));
                text(out, name);
                out.push(':');
                write(out, value, Hint::None)?;
            }
            out.push_str(if open == '{' { "{}" } else { "}" });
        }
        Field::ListInternal(list) => {
            out.push('[');
            for (i, element) in list.elements().iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(out, element, Hint::None)?;
            }
            out.push(']');
        }
        Field::MapInternal(map) => {
            let mut open = '{';
            for (key, value) in map.entries() {
                out.push(std::mem::replace(&mut open, ','));
                match key {
                    Field::Str(name) => text(out, name),
                    other => text(out, &digits(other)),
                }
                out.push(':');
                write(out, value, Hint::None)?;
            }
            out.push_str(if open == '{' { "{}" } else { "}" });
        }
    }
    Ok(())
}

/// A value as the library writes it. Behind a decimal without a fraction it leaves the point
/// (`123.`), which is no JSON.
fn digits(value: &Field) -> String {
    let mut digits = value.to_string();
    if matches!(value, Field::Decimal(_)) && digits.ends_with('.') {
        digits.pop();
    }
    digits
}

/// A float as JSON has it; one that JSON has not as its word, which no column of numbers takes,
/// so that its row is named instead of losing it.
fn float(out: &mut String, number: f32) {
    match serde_json::to_string(&number) {
        Ok(digits) if number.is_finite() => out.push_str(&digits),
        _ => text(out, &number.to_string()),
    }
}

fn double(out: &mut String, number: f64) {
    match serde_json::to_string(&number) {
        Ok(digits) if number.is_finite() => out.push_str(&digits),
        _ => text(out, &number.to_string()),
    }
}

fn moment(out: &mut String, moment: Result<Timestamp, jiff::Error>) -> Result<(), String> {
    text(out, &moment.map_err(|_| "holds a time beyond the year 9999".to_owned())?.to_string());
    Ok(())
}

fn uuid(out: &mut String, bytes: &[u8]) {
    let mut id = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            id.push('-');
        }
        id.push_str(&format!("{byte:02x}"));
    }
    text(out, &id);
}

fn text(out: &mut String, text: &str) {
    out.push_str(&serde_json::to_string(text).expect("a text is JSON"));
}
