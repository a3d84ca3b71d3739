//! Rows checked against the definition of their dataset: the gateway does it
//! before it accepts them, the recorder when it writes them.
//!
//! Invariant: types never turn into each other. A number is not a text, `91.0`
//! is not an integer, and what a column cannot hold is refused, not rounded.

mod csv;
mod default;
mod extra;
mod fill;
mod parse;
mod reader;

pub use csv::{CsvHeader, csv_open_quote};
pub use parse::{date as parse_date, midnight, uuid as parse_uuid};
pub use reader::{KEY_BYTES, Reader};

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use crate::decimal::Decimal;

/// One value of a row, of the type of its column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Missing or null.
    Null,
    /// A text without NUL.
    Text(Cow<'a, str>),
    /// A 64-bit integer.
    Integer(i64),
    /// A finite float.
    Float(f64),
    /// An exact number.
    Decimal(Decimal),
    /// true or false.
    Boolean(bool),
    /// A moment, cut to the microsecond.
    Timestamp(Timestamp),
    /// A day.
    Date(Date),
    /// A UUID.
    Uuid(Uuid),
    /// JSON, digit for digit.
    Json(Cow<'a, str>),
    /// Texts without NUL.
    Texts(Vec<Cow<'a, str>>),
}
