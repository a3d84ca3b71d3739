//! Rows checked against the definition of their dataset: the gateway does it
//! before it accepts them, the recorder when it writes them.
//!
//! Invariant: types never turn into each other. A number is not a text, `91.0`
//! is not an integer, and what a column cannot hold is refused, not rounded.

mod csv;
mod fill;
mod reader;

pub use csv::{CsvHeader, csv_open_quote};
pub use reader::Reader;

use std::borrow::Cow;

use jiff::Timestamp;

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
    /// true or false.
    Boolean(bool),
    /// A moment, cut to the microsecond.
    Timestamp(Timestamp),
    /// JSON, digit for digit.
    Json(&'a str),
}
