//! The types of columns in reads, once for every engine.

use orderwire_types::dataset::{DatasetDef, FieldType};

use crate::contain::Document;
use crate::error::{Error, ErrorKind};
use crate::select::Operand;

/// The deepest nesting of conditions of a filter.
pub const DEPTH: usize = 64;

/// The most conditions of one filter.
pub const CONDITIONS: usize = 500;

/// The most values of one filter.
pub const VALUES: usize = 20_000;

/// The most values of all json documents that one filter compares with. Each may be looked for among all
/// values of a row's document, in one piece that no engine interrupts.
pub const JSON_VALUES: usize = 200;

/// The type of a column, hidden ones included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// An integer.
    Integer,
    /// A float.
    Float,
    /// An exact number.
    Decimal,
    /// A boolean.
    Boolean,
    /// A moment.
    Timestamp,
    /// A day.
    Date,
    /// JSON.
    Json,
    /// An id.
    Uuid,
    /// A list of texts.
    Texts,
}

impl From<FieldType> for Kind {
    fn from(field_type: FieldType) -> Self {
        match field_type {
            FieldType::Text => Self::Text,
            FieldType::Integer => Self::Integer,
            FieldType::Float => Self::Float,
            FieldType::Boolean => Self::Boolean,
            FieldType::Decimal => Self::Decimal,
            FieldType::Timestamp => Self::Timestamp,
            FieldType::Date => Self::Date,
            FieldType::Uuid => Self::Uuid,
            FieldType::Json => Self::Json,
            FieldType::Texts => Self::Texts,
        }
    }
}

/// A column that a read may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its type.
    pub kind: Kind,
    /// Whether it can be null.
    pub nullable: bool,
}

/// The hidden columns and their types, in the order of
/// [`HIDDEN_COLUMNS`](orderwire_types::dataset::HIDDEN_COLUMNS).
pub const HIDDEN: [(&str, Kind); 5] = [
    ("_seq", Kind::Integer),
    ("_client", Kind::Text),
    ("_event_id", Kind::Uuid),
    ("_trace_id", Kind::Uuid),
    ("_recorded_at", Kind::Timestamp),
];

/// The column of this name, of the definition or hidden.
pub fn column(def: &DatasetDef, name: &str) -> Option<Known> {
    match HIDDEN.iter().find(|(hidden, _)| *hidden == name) {
        Some((_, kind)) => Some(Known { kind: *kind, nullable: false }),
        None => {
            def.column(name).map(|field| Known { kind: field.field_type.into(), nullable: !field.required })
        }
    }
}

impl Kind {
    /// Whether the column `name`, which is of this type, is compared with a value.
    ///
    /// # Errors
    /// `Invalid` for a value of another type; NaN is no number.
    pub fn compares(self, name: &str, value: &Operand) -> Result<(), Error> {
        let wanted = match (self, value) {
            (Self::Float, Operand::Float(float)) if float.is_nan() => "a number",
            (Self::Text | Self::Json, Operand::Text(_))
            | (Self::Integer, Operand::Integer(_))
            | (Self::Float, Operand::Float(_))
            | (Self::Boolean, Operand::Boolean(_))
            | (Self::Decimal, Operand::Decimal(_))
            | (Self::Timestamp, Operand::Timestamp(_))
            | (Self::Date, Operand::Date(_))
            | (Self::Uuid, Operand::Uuid(_))
            | (Self::Texts, Operand::Texts(_)) => return Ok(()),
            (_, Operand::Text(_)) => "a text",
            (_, Operand::Integer(_)) => "an integer",
            (_, Operand::Float(_)) => "a number",
            (_, Operand::Decimal(_)) => "an exact number",
            (_, Operand::Boolean(_)) => "a boolean",
            (_, Operand::Timestamp(_)) => "a time",
            (_, Operand::Date(_)) => "a day",
            (_, Operand::Uuid(_)) => "an id",
            (_, Operand::Texts(_)) => "a list of texts",
        };
        Err(self.mismatch(name, wanted))
    }

    /// Whether the column `name`, which is of this type, has an order.
    ///
    /// # Errors
    /// `Invalid` for a list: engines would put them in different orders.
    pub fn orders(self, name: &str) -> Result<(), Error> {
        match self {
            Self::Texts => {
                Err(Error::new(ErrorKind::Invalid, format!("column {name} is a list, which has no order")))
            }
            _ => Ok(()),
        }
    }

    /// The same for a comparison by order.
    ///
    /// # Errors
    /// As [`Kind::compares`] and [`Kind::orders`].
    pub fn compares_by_order(self, name: &str, value: &Operand) -> Result<(), Error> {
        self.compares(name, value)?;
        self.orders(name)
    }

    /// Whether the column `name`, which is of this type, is searched by a pattern.
    ///
    /// # Errors
    /// `Invalid` for what is no text.
    pub fn searches(self, name: &str) -> Result<(), Error> {
        match self {
            Self::Text | Self::Json => Ok(()),
            _ => Err(self.mismatch(name, "a text")),
        }
    }

    /// Whether the column `name`, which is of this type, has elements.
    ///
    /// # Errors
    /// `Invalid` for what is no list.
    pub fn lists(self, name: &str) -> Result<(), Error> {
        match self {
            Self::Texts => Ok(()),
            _ => Err(self.mismatch(name, "a list of texts")),
        }
    }

    /// How many values the json document has that the column `name`, which is of this type, is compared with.
    ///
    /// # Errors
    /// `Invalid` for another type, and for what is no [`Document`].
    pub fn json_values(self, name: &str, document: &str) -> Result<usize, Error> {
        match (self, Document::read(document)) {
            (Self::Json, Some(document)) => Ok(document.values()),
            _ => Err(self.mismatch(name, "a json document")),
        }
    }

    /// The error of a comparison that the type does not know.
    pub fn mismatch(self, name: &str, wanted: &str) -> Error {
        let kind = format!("{self:?}").to_lowercase();
        let message = format!("filter: column {name} is of type {kind} and is not compared as {wanted}");
        Error::new(ErrorKind::Invalid, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hidden_column_has_a_type() {
        assert_eq!(HIDDEN.map(|(name, _)| name), orderwire_types::dataset::HIDDEN_COLUMNS);
    }
}
