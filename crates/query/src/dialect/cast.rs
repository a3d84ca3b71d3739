//! Casts of what an answer shows. They are done here, on what was read, so that they are the
//! same whatever the store is.

use jiff::Timestamp;
use orderwire_store::Cell;
use orderwire_types::dataset::FieldType;

use super::columns::ColumnType;
use super::params::shorten;
use super::resolve::moment;
use crate::error::{Error, ErrorKind};

/// What a value becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cast {
    Text,
    Integer,
    Float,
    Boolean,
    Timestamp,
    Date,
    Json,
}

/// What a cast gave.
#[derive(Clone, Debug)]
pub(crate) enum Casted<'a> {
    As(Cell<'a>),
    Text(String),
}

impl Casted<'_> {
    pub(crate) fn cell(&self) -> Cell<'_> {
        match self {
            Self::As(cell) => *cell,
            Self::Text(text) => Cell::Text(text),
        }
    }
}

impl Cast {
    /// The names of the types, the first of each is ours.
    const NAMES: [(&'static str, Self); 17] = [
        ("text", Self::Text),
        ("varchar", Self::Text),
        ("integer", Self::Integer),
        ("int", Self::Integer),
        ("int4", Self::Integer),
        ("int8", Self::Integer),
        ("bigint", Self::Integer),
        ("float", Self::Float),
        ("float8", Self::Float),
        ("double precision", Self::Float),
        ("boolean", Self::Boolean),
        ("bool", Self::Boolean),
        ("timestamp", Self::Timestamp),
        ("timestamptz", Self::Timestamp),
        ("date", Self::Date),
        ("json", Self::Json),
        ("jsonb", Self::Json),
    ];

    pub(super) fn of(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, cast)| *cast)
    }

    /// Our name.
    pub(crate) fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, cast)| *cast == self).expect("every cast is listed").0
    }

    pub(super) fn names() -> Vec<&'static str> {
        Self::NAMES.iter().filter(|(name, cast)| cast.name() == *name).map(|(name, _)| *name).collect()
    }

    /// Whether values of this type can become it.
    pub(super) fn check(self, of: ColumnType, shown: &str) -> Result<(), Error> {
        use FieldType as Of;
        let ColumnType::Field(from) = of else {
            return if self == Self::Text { Ok(()) } else { Err(self.refused(of, shown)) };
        };
        let fits = match self {
            Self::Text => true,
            Self::Integer => matches!(from, Of::Integer | Of::Float | Of::Boolean | Of::Text),
            Self::Float => matches!(from, Of::Float | Of::Integer | Of::Decimal | Of::Text),
            Self::Boolean => matches!(from, Of::Boolean | Of::Integer | Of::Text),
            Self::Timestamp | Self::Date => matches!(from, Of::Timestamp | Of::Text),
            Self::Json => matches!(from, Of::Json),
        };
        if fits { Ok(()) } else { Err(self.refused(of, shown)) }
    }

    fn refused(self, of: ColumnType, shown: &str) -> Error {
        let message = format!("cannot cast {shown} of type {} to {}", of.name(), self.name());
        Error::new(ErrorKind::Invalid, "42846", message)
    }

    /// The value as it becomes. Nulls stay.
    ///
    /// # Errors
    /// `22P02` for a text that is none of the type, `22003` for a number beyond its range.
    pub(crate) fn apply(self, cell: Cell<'_>) -> Result<Casted<'_>, Error> {
        let wrong = |text: &str| {
            let message = format!("invalid input syntax for type {}: {:?}", self.name(), shorten(text));
            Error::new(ErrorKind::Invalid, "22P02", message)
        };
        let range = |text: String| {
            let message = format!("{text} is out of the range of type {}", self.name());
            Error::new(ErrorKind::Invalid, "22003", message)
        };
        let as_cell = |cell| Ok(Casted::As(cell));
        match (self, cell) {
            (_, Cell::Null) => as_cell(Cell::Null),
            (Self::Text, cell) => Ok(Casted::Text(text_of(cell))),
            (Self::Integer, Cell::Integer(_))
            | (Self::Float, Cell::Float(_))
            | (Self::Boolean, Cell::Boolean(_))
            | (Self::Timestamp, Cell::Timestamp(_))
            | (Self::Json, Cell::Json(_)) => as_cell(cell),
            (Self::Integer, Cell::Boolean(yes)) => as_cell(Cell::Integer(i64::from(yes))),
            (Self::Integer, Cell::Float(float)) => {
                let whole = float.round_ties_even();
                // The greatest float below 2^63 is the last that fits.
                let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&whole);
                #[expect(clippy::cast_possible_truncation, reason = "whole and within the range")]
                if fits { as_cell(Cell::Integer(whole as i64)) } else { Err(range(float.to_string())) }
            }
            // A sum is a number of any size.
            (Self::Integer, Cell::Json(text)) => match text.parse() {
                Ok(integer) => as_cell(Cell::Integer(integer)),
                Err(_) => Err(range(text.to_owned())),
            },
            (Self::Integer, Cell::Text(text)) => match text.trim().parse() {
                Ok(integer) => as_cell(Cell::Integer(integer)),
                Err(_) => Err(wrong(text)),
            },
            #[expect(clippy::cast_precision_loss, reason = "that is the cast")]
            (Self::Float, Cell::Integer(integer)) => as_cell(Cell::Float(integer as f64)),
            (Self::Float, Cell::Decimal(decimal)) => match decimal.to_string().parse::<f64>() {
                Ok(float) if float.is_finite() => as_cell(Cell::Float(float)),
                _ => Err(range(decimal.to_string())),
            },
            (Self::Float, Cell::Text(text) | Cell::Json(text)) => match text.trim().parse::<f64>() {
                Ok(float) if float.is_finite() => as_cell(Cell::Float(float)),
                _ => Err(wrong(text)),
            },
            (Self::Boolean, Cell::Integer(integer)) => as_cell(Cell::Boolean(integer != 0)),
            (Self::Boolean, Cell::Text(text)) => match truth(text) {
                Some(yes) => as_cell(Cell::Boolean(yes)),
                None => Err(wrong(text)),
            },
            (Self::Timestamp, Cell::Text(text)) => match moment(text.trim()) {
                Some(at) => as_cell(Cell::Timestamp(at)),
                None => Err(wrong(text)),
            },
            (Self::Date, Cell::Timestamp(at)) => Ok(Casted::Text(date(at))),
            (Self::Date, Cell::Text(text)) => match moment(text.trim()) {
                Some(at) => Ok(Casted::Text(date(at))),
                None => Err(wrong(text)),
            },
            (_, cell) => Err(wrong(&text_of(cell))),
        }
    }
}

/// A word for true or false.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn date(at: Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}

/// A value as text, in the digits in which answers show it.
pub(crate) fn text_of(cell: Cell<'_>) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Text(text) | Cell::Json(text) | Cell::Texts(text) => text.to_owned(),
        Cell::Decimal(decimal) => decimal.to_string(),
        Cell::Date(date) => date.to_string(),
        Cell::Integer(integer) => integer.to_string(),
        Cell::Float(float) => serde_json::to_string(&float).expect("a float is JSON"),
        Cell::Boolean(yes) => yes.to_string(),
        Cell::Timestamp(at) => at.to_string(),
        Cell::Uuid(id) => id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cast(name: &str, cell: Cell<'_>) -> Result<String, String> {
        let cast = Cast::of(name).unwrap();
        match cast.apply(cell) {
            Ok(casted) => Ok(format!("{:?}", casted.cell())),
            Err(error) => Err(error.code().to_owned()),
        }
    }

    #[test]
    fn values_become_what_they_are_cast_to() {
        let at = Cell::Timestamp("2026-01-31T23:30:00.25Z".parse().unwrap());
        for (name, cell, expected) in [
            ("text", Cell::Integer(-5), "Text(\"-5\")"),
            ("text", Cell::Float(0.1), "Text(\"0.1\")"),
            ("text", Cell::Boolean(true), "Text(\"true\")"),
            ("text", at, "Text(\"2026-01-31T23:30:00.25Z\")"),
            ("text", Cell::Json("1.10"), "Text(\"1.10\")"),
            ("text", Cell::Null, "Null"),
            ("int8", Cell::Float(2.5), "Integer(2)"),
            ("int", Cell::Float(-3.5), "Integer(-4)"),
            ("integer", Cell::Text(" 9007199254740993 "), "Integer(9007199254740993)"),
            ("integer", Cell::Boolean(true), "Integer(1)"),
            ("integer", Cell::Json("12"), "Integer(12)"),
            ("float8", Cell::Integer(3), "Float(3.0)"),
            ("float8", Cell::Text("1.5e3"), "Float(1500.0)"),
            ("bool", Cell::Text("yes"), "Boolean(true)"),
            ("bool", Cell::Integer(0), "Boolean(false)"),
            ("date", at, "Text(\"2026-01-31\")"),
            ("timestamptz", Cell::Text("2026-01-31"), "Timestamp(2026-01-31T00:00:00Z)"),
        ] {
            assert_eq!(cast(name, cell).as_deref(), Ok(expected), "{cell:?}::{name}");
        }
    }

    #[test]
    fn what_is_no_value_of_the_type_is_an_error() {
        for (name, cell, code) in [
            ("integer", Cell::Text("x"), "22P02"),
            ("integer", Cell::Text("1.5"), "22P02"),
            ("integer", Cell::Float(9_223_372_036_854_775_808.0), "22003"),
            ("integer", Cell::Json("9223372036854775808"), "22003"),
            ("float", Cell::Text("1e999"), "22P02"),
            ("float", Cell::Text("nan"), "22P02"),
            ("boolean", Cell::Text("maybe"), "22P02"),
            ("date", Cell::Text("soon"), "22P02"),
        ] {
            assert_eq!(cast(name, cell), Err(code.to_owned()), "{cell:?}::{name}");
        }
    }
}
