//! The definition of a dataset: a typed table behind the query API.

mod key;
mod partition;

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::ColumnName;
use crate::problem::Fault;

pub use partition::Partition;

/// The hidden columns that every dataset table has from its first day. They
/// are not in `*`, but selectable by name.
///
/// `_seq` is the position of arrival, an integer that only grows. `_client` says
/// whose row it is, `_trace_id` on which trace it came, and `_recorded_at` when it
/// was recorded. `_event_id` is the row's own id: derived from the event that
/// brought it and its index there ([`crate::identity::row_id`]), so that the rows
/// of one event differ in it and the same event makes the same ids again.
pub const HIDDEN_COLUMNS: [&str; 5] = ["_seq", "_client", "_event_id", "_trace_id", "_recorded_at"];

/// The column of a dataset that [keeps](Unknown::Keep) what rows bring beyond its fields,
/// hidden like [`HIDDEN_COLUMNS`]: a json object of these members, each as it was written,
/// and null where a row brought none.
pub const EXTRA: &str = "_extra";

static EXTRA_COLUMN: LazyLock<Field> = LazyLock::new(|| Field {
    name: ColumnName::own(EXTRA),
    field_type: FieldType::Json,
    required: false,
    default: None,
    unit: None,
    description: Some("what the row brought beyond the fields of the dataset".to_owned()),
});

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// UTF-8 without NUL.
    Text,
    /// A signed 64-bit integer.
    Integer,
    /// A finite 64-bit float.
    Float,
    /// An exact number of at most 38 digits; keeps those behind its point.
    Decimal,
    /// true or false.
    Boolean,
    /// A moment, RFC 3339 with offset or `Z`; kept to the microsecond, shown in UTC.
    Timestamp,
    /// A day, `YYYY-MM-DD`.
    Date,
    /// A UUID, shown in lower case.
    Uuid,
    /// Any JSON, kept digit for digit.
    Json,
    /// A list of texts, in JSON an array of strings without null.
    #[serde(rename = "text[]")]
    Texts,
}

impl FieldType {
    /// Every type.
    pub const ALL: [Self; 10] = [
        Self::Text,
        Self::Integer,
        Self::Float,
        Self::Decimal,
        Self::Boolean,
        Self::Timestamp,
        Self::Date,
        Self::Uuid,
        Self::Json,
        Self::Texts,
    ];

    /// The type of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }

    /// Whether values can be compared for more than equality, and rows be put in their order.
    pub fn is_ordered(self) -> bool {
        !matches!(self, Self::Json | Self::Texts)
    }

    /// Its name, as definitions spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Decimal => "decimal",
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::Uuid => "uuid",
            Self::Json => "json",
            Self::Texts => "text[]",
        }
    }
}

/// One column of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// The name of the column.
    #[schemars(with = "String")]
    pub name: ColumnName,
    /// The type of its values.
    #[serde(rename = "type")]
    pub field_type: FieldType,
    /// Whether a row without it, or with null, is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// The value of a row that does not name the column; null is no value and stays it. A
    /// column that is added later has it in the rows that are there. Numbers have at most 15
    /// digits here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
    /// The unit of measure, for people and for the API's description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What happens to a row whose key is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// The new row takes the place of the old one.
    #[default]
    Update,
    /// The old row stays.
    Keep,
}

/// What happens to a field that the dataset does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// The row is refused.
    #[default]
    Reject,
    /// The field is left out.
    Ignore,
    /// The field is kept beside the others in the hidden column `_extra`, a json object, with its
    /// digits as they were sent.
    Keep,
}

/// A dataset as an operator defines it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetDef {
    /// The columns, in the order of `*`.
    pub fields: Vec<Field>,
    /// The columns that name a row, beside the client. Without a key every row
    /// is kept. `_client` may be said as the first and is left out when shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "key::read")]
    #[schemars(with = "Vec<String>")]
    pub key: Vec<ColumnName>,
    /// What happens to a row whose key is there already.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// The timestamp column that says when a row happened: indexed, the default
    /// of views and retention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub time: Option<ColumnName>,
    /// What happens to a field that the dataset does not have.
    #[serde(default)]
    pub unknown: Unknown,
    /// How long rows are kept, by `time` or else by when they were recorded;
    /// for example `90d`. Without it they are kept for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Span>,
    /// Whether rows lie in partitions by `time`, those of a `day` or of a `month` together, which
    /// go as a whole when they are past the retention. The key must hold the time then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
}

/// The most columns of a dataset.
const FIELDS_MAX: usize = 500;

impl DatasetDef {
    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name.as_str() == name)
    }

    /// The columns of its table beside those that every dataset has: its fields, and behind them
    /// [`EXTRA`] where it keeps what it has no field for.
    pub fn columns(&self) -> impl Iterator<Item = &Field> {
        let extra: Option<&Field> = (self.unknown == Unknown::Keep).then_some(&*EXTRA_COLUMN);
        self.fields.iter().chain(extra)
    }

    /// The column of this name, of its [`columns`](Self::columns).
    pub fn column(&self, name: &str) -> Option<&Field> {
        self.columns().find(|column| column.name.as_str() == name)
    }

    /// Every fault of the definition: duplicate columns (also by case), a key
    /// or time column that does not exist, a key column that is not required, json or text[], a
    /// default that is no value of its column, no field, partitions without a time in each row. With too many fields or key columns that alone is named, so that
    /// the work stays small whatever somebody sends.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.fields.is_empty() {
            faults.push(Fault::invalid("/fields", "a dataset needs at least one field"));
        }
        for (pointer, count) in [("/fields", self.fields.len()), ("/key", self.key.len())] {
            if count > FIELDS_MAX {
                let detail = format!("a dataset has at most {FIELDS_MAX} fields; here are {count}");
                return vec![Fault::invalid(pointer, detail)];
            }
        }
        let mut names = HashSet::with_capacity(self.fields.len());
        for (i, field) in self.fields.iter().enumerate() {
            if !names.insert(field.name.as_str().to_ascii_lowercase()) {
                faults.push(Fault::invalid(
                    format!("/fields/{i}/name"),
                    format!("column {} is there already (names differ by more than case)", field.name),
                ));
            }
        }
        for (i, field) in self.fields.iter().enumerate() {
            if let Err(detail) = field.default_value() {
                faults.push(Fault::invalid(format!("/fields/{i}/default"), detail));
            }
        }
        for (i, name) in self.key.iter().enumerate() {
            let pointer = format!("/key/{i}");
            match self.field(name.as_str()) {
                None => {
                    faults
                        .push(Fault::invalid(pointer, format!("key column {name} is not among the fields")));
                }
                Some(field) if !field.required => {
                    faults.push(Fault::invalid(pointer, format!("key column {name} must be required: true")));
                }
                Some(field) if !field.field_type.is_ordered() => {
                    let kind = field.field_type.as_str();
                    faults.push(Fault::invalid(pointer, format!("key column {name} cannot be {kind}")));
                }
                Some(_) if self.key[..i].contains(name) => {
                    faults.push(Fault::invalid(pointer, format!("key column {name} is named twice")));
                }
                Some(_) => {}
            }
        }
        if let Some(time) = &self.time {
            match self.field(time.as_str()) {
                None => faults
                    .push(Fault::invalid("/time", format!("time column {time} is not among the fields"))),
                Some(field) if field.field_type != FieldType::Timestamp => {
                    faults.push(Fault::invalid(
                        "/time",
                        format!("time column {time} must be of type timestamp"),
                    ));
                }
                Some(_) => {}
            }
        }
        faults.extend(self.partition_fault());
        faults
    }
}

/// A length of time as people write it: `500ms`, `5s`, `10m`, `1h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let wrong = || format!("{text:?} is not a length of time such as 500ms, 5s, 10m, 1h or 7d");
        let millis = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let total =
            number.checked_mul(millis).filter(|total| *total <= 36_500 * 86_400_000).ok_or_else(wrong)?;
        Ok(Self(Duration::from_millis(total)))
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let fits = |(_, unit): &&(&str, u64)| millis.is_multiple_of(*unit);
        let (name, unit) = UNITS.iter().rev().find(fits).expect("every number is a multiple of 1 ms");
        write!(f, "{}{name}", millis / unit)
    }
}

impl From<Span> for SignedDuration {
    fn from(span: Span) -> Self {
        SignedDuration::try_from(span.0).unwrap_or(SignedDuration::MAX)
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(ms|s|m|h|d)$",
            "description": "a length of time such as 500ms, 5s, 10m, 1h or 7d"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_and_print() {
        for text in ["500ms", "5s", "10m", "1h", "7d", "90s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for bad in ["", "5", "s", "-5s", "5 s", "1w", "99999999999999999999d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_fault_of_a_definition_is_named() {
        let def: DatasetDef = serde_json::from_str(
            r#"{"fields":[{"name":"a","type":"text"},{"name":"A","type":"json","required":true}],
                "key":["a","A","b"],"time":"a"}"#,
        )
        .unwrap();
        let pointers: Vec<String> = def.faults().into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(pointers, ["/fields/1/name", "/key/0", "/key/1", "/key/2", "/time"]);
    }

    #[test]
    fn a_definition_with_far_too_many_names_costs_little() {
        let fields: Vec<String> =
            (0..200_000).map(|i| format!(r#"{{"name":"c{i}","type":"text"}}"#)).collect();
        let key: Vec<String> = (0..200_000).map(|i| format!(r#""c{i}""#)).collect();
        let read = |fields: &[String], key: &[String]| -> DatasetDef {
            let text = format!(r#"{{"fields":[{}],"key":[{}]}}"#, fields.join(","), key.join(","));
            serde_json::from_str(&text).unwrap()
        };
        let shown = |def: DatasetDef| -> Vec<String> {
            def.faults().into_iter().map(|fault| format!("{} {}", fault.pointer, fault.detail)).collect()
        };
        // Compared pair by pair these would be tens of thousands of millions of comparisons.
        assert_eq!(shown(read(&fields, &key)), ["/fields a dataset has at most 500 fields; here are 200000"]);
        assert_eq!(
            shown(read(&fields[..500], &key)),
            ["/key a dataset has at most 500 fields; here are 200000"]
        );
        assert_eq!(shown(read(&fields[..500], &[])), [""; 0]);
    }
}
