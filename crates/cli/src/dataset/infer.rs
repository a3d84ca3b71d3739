//! The types of a file's columns, inferred from every row of it: a sample
//! would be wrong about the one row that matters.
//!
//! Nothing is guessed that loses a digit: an integer beyond 64 bits is no
//! integer, and one beyond 2^53 no float.

use std::collections::HashMap;

use csv::StringRecord;
use orderwire_types::dataset::{DatasetDef, Field, FieldType, OnConflict, Unknown};
use orderwire_types::envelope::parse_rfc3339;
use orderwire_types::row::{CsvHeader, Reader};
use orderwire_types::{ColumnName, Limits};

use super::page::Members;
use crate::error::Error;
use crate::out::{ABSENT, Table, count};

/// The most columns that a dataset has.
const COLUMNS_MAX: usize = 500;
/// How much of an example is shown.
const EXAMPLE_MAX: usize = 32;
/// Integers up to here are floats, too, without loss.
const EXACT_MAX: u64 = 1 << 53;

/// What the rows so far allow.
pub(super) struct Inference {
    columns: Vec<Column>,
    index: HashMap<String, usize>,
    times: Times,
    csv: bool,
}

struct Column {
    name: String,
    types: Types,
    values: u64,
    example: String,
}

/// The types that every value so far has.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Types(u8);

impl Types {
    const INTEGER: Self = Self(1);
    const FLOAT: Self = Self(2);
    const BOOLEAN: Self = Self(4);
    const TIMESTAMP: Self = Self(8);
    const TEXT: Self = Self(16);
    const JSON: Self = Self(32);
    const ALL: Self = Self(63);

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl Inference {
    /// Of a CSV file with this header.
    pub(super) fn of_csv(header: &StringRecord) -> Self {
        let columns: Vec<Column> = header.iter().map(|name| Column::new(name.trim())).collect();
        Self { index: HashMap::new(), columns, times: Times::new(), csv: true }
    }

    /// Of an NDJSON file; columns are those that rows have.
    pub(super) fn of_ndjson() -> Self {
        Self { index: HashMap::new(), columns: Vec::new(), times: Times::new(), csv: false }
    }

    /// Takes a CSV record into account.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn record(&mut self, record: &StringRecord) -> Result<(), String> {
        if record.len() != self.columns.len() {
            let (values, columns) = (record.len(), self.columns.len());
            return Err(format!("the record has {values} values, the header {columns} columns"));
        }
        for (column, value) in self.columns.iter_mut().zip(record) {
            if !value.is_empty() {
                let candidates = column.types;
                column.note(of_text(value, candidates, &self.times), value);
            }
        }
        Ok(())
    }

    /// Takes an NDJSON row into account.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn json(&mut self, row: &str) -> Result<(), String> {
        let Members(members) =
            serde_json::from_str(row).map_err(|error| format!("not a JSON object: {error}"))?;
        for (name, value) in members {
            let at = match self.index.get(name.as_ref()) {
                Some(at) => *at,
                None if self.columns.len() == COLUMNS_MAX => {
                    return Err(format!("the rows have more than {COLUMNS_MAX} different fields"));
                }
                None => {
                    self.columns.push(Column::new(&name));
                    self.index.insert(name.into_owned(), self.columns.len() - 1);
                    self.columns.len() - 1
                }
            };
            if value.get() != "null" {
                self.columns[at].note(of_json(value.get()), value.get());
            }
        }
        Ok(())
    }

    /// The definition that takes every row.
    ///
    /// # Errors
    /// `Invalid` for names that no column can have.
    pub(super) fn definition(&self) -> Result<DatasetDef, Error> {
        let mut fields = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let name: ColumnName = column.name.parse().map_err(|invalid| {
                Error::invalid(format!("{invalid}; rename it in the file, or its column cannot be made"))
            })?;
            let field_type = column.field_type(self.csv);
            fields.push(Field {
                name,
                field_type,
                required: false,
                default: None,
                unit: None,
                description: None,
            });
        }
        let mut times = fields.iter().filter(|field| field.field_type == FieldType::Timestamp);
        let time = match (times.next(), times.next()) {
            (Some(only), None) => Some(only.name.clone()),
            _ => None,
        };
        let def = DatasetDef {
            fields,
            key: Vec::new(),
            on_conflict: OnConflict::Update,
            time,
            unknown: Unknown::Reject,
            retention: None,
            partition: None,
        };
        super::sound(def, crate::error::ErrorKind::Invalid)
    }

    /// What was inferred, for people to look at before it is used.
    pub(super) fn shown(&self, def: &DatasetDef) -> String {
        let mut table = Table::new(["column", "type", "values", "example"]);
        for (field, column) in def.fields.iter().zip(&self.columns) {
            let mut kind = field.field_type.as_str().to_owned();
            if def.time.as_ref() == Some(&field.name) {
                kind.push_str(" (time)");
            }
            let example = if column.values == 0 { ABSENT.to_owned() } else { column.example.clone() };
            table.row([column.name.clone(), kind, count(column.values), example]);
        }
        table.render()
    }
}

impl Column {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), types: Types::ALL, values: 0, example: String::new() }
    }

    fn note(&mut self, types: Types, value: &str) {
        if self.values == 0 {
            self.example = value.chars().take(EXAMPLE_MAX).collect();
        }
        self.values += 1;
        self.types = Types(self.types.0 & types.0);
    }

    fn field_type(&self, csv: bool) -> FieldType {
        if self.values == 0 {
            return FieldType::Text;
        }
        // A CSV value is text whatever else it is; a JSON value is JSON.
        let last = if csv {
            [(Types::JSON, FieldType::Json), (Types::TEXT, FieldType::Text)]
        } else {
            [(Types::TEXT, FieldType::Text), (Types::JSON, FieldType::Json)]
        };
        let first = [
            (Types::INTEGER, FieldType::Integer),
            (Types::FLOAT, FieldType::Float),
            (Types::BOOLEAN, FieldType::Boolean),
            (Types::TIMESTAMP, FieldType::Timestamp),
        ];
        let mut order = first.into_iter().chain(last);
        order.find(|(types, _)| self.types.has(*types)).map_or(FieldType::Text, |(_, field_type)| field_type)
    }
}

/// The types of a CSV value; only the candidates are tried.
fn of_text(value: &str, candidates: Types, times: &Times) -> Types {
    let mut types = Types::TEXT;
    if candidates.has(Types::INTEGER.or(Types::FLOAT)) {
        types = types.or(of_number(value));
    }
    if candidates.has(Types::BOOLEAN) && ["true", "false"].iter().any(|word| value.eq_ignore_ascii_case(word))
    {
        types = types.or(Types::BOOLEAN);
    }
    if candidates.has(Types::TIMESTAMP) && times.takes(value) {
        types = types.or(Types::TIMESTAMP);
    }
    if candidates.has(Types::JSON)
        && value.starts_with(['{', '['])
        && serde_json::from_str::<&serde_json::value::RawValue>(value).is_ok()
    {
        types = types.or(Types::JSON);
    }
    types
}

/// The types of a JSON value that is not null.
fn of_json(raw: &str) -> Types {
    match raw.as_bytes().first() {
        Some(b'"') => {
            let moment = serde_json::from_str::<String>(raw).is_ok_and(|text| parse_rfc3339(&text).is_some());
            let text = Types::TEXT.or(Types::JSON);
            if moment { text.or(Types::TIMESTAMP) } else { text }
        }
        Some(b't' | b'f') => Types::BOOLEAN.or(Types::JSON),
        Some(b'{' | b'[') => Types::JSON,
        _ => of_number(raw).or(Types::JSON),
    }
}

fn of_number(value: &str) -> Types {
    let digits = value.strip_prefix('-').unwrap_or(value);
    // As JSON writes numbers: `007` and `+1` are texts that must keep their digits.
    let mut bytes = digits.bytes();
    match (bytes.next(), bytes.next()) {
        (Some(b'0'), Some(b'0'..=b'9')) => return Types(0),
        (Some(b'0'..=b'9'), _) => {}
        _ => return Types(0),
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return match value.parse::<i64>() {
            Ok(number) if number.unsigned_abs() <= EXACT_MAX => Types::INTEGER.or(Types::FLOAT),
            Ok(_) => Types::INTEGER,
            Err(_) => Types(0),
        };
    }
    if serde_json::from_str::<f64>(value).is_ok_and(f64::is_finite) { Types::FLOAT } else { Types(0) }
}

/// What the recorder takes for a time in CSV, by asking its own reader.
struct Times {
    reader: Reader,
    header: CsvHeader,
}

impl Times {
    fn new() -> Self {
        let def: DatasetDef = serde_json::from_str(r#"{"fields":[{"name":"t","type":"timestamp"}]}"#)
            .expect("the definition is sound");
        let reader = Reader::new(&def, &Limits::default());
        let header = reader.csv_header(["t"]).expect("the column exists");
        Self { reader, header }
    }

    fn takes(&self, value: &str) -> bool {
        value.starts_with(|c: char| c.is_ascii_digit()) && self.reader.read_csv(&self.header, [value]).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_csv(values: &[&str]) -> &'static str {
        let mut inference = Inference::of_csv(&StringRecord::from(vec!["a"]));
        for value in values {
            inference.record(&StringRecord::from(vec![*value])).unwrap();
        }
        inference.definition().unwrap().fields[0].field_type.as_str()
    }

    fn of_ndjson(values: &[&str]) -> &'static str {
        let mut inference = Inference::of_ndjson();
        for value in values {
            inference.json(&format!("{{\"a\":{value}}}")).unwrap();
        }
        inference.definition().unwrap().fields[0].field_type.as_str()
    }

    #[test]
    fn csv_values_have_the_narrowest_type_that_takes_all() {
        for (values, wanted) in [
            (&["1", "", "-20"][..], "integer"),
            (&["0", "1"], "integer"),
            (&["1", "2.5"], "float"),
            (&["0.1", "1e5"], "float"),
            (&["0e0", "2.5"], "float"),
            (&["007"], "text"),
            (&["1", "x"], "text"),
            (&["NaN"], "text"),
            (&["+1"], "text"),
            (&["1e999"], "text"),
            (&["9223372036854775807"], "integer"),
            (&["9223372036854775808"], "text"),
            (&["9007199254740993", "0.5"], "text"),
            (&["true", "FALSE"], "boolean"),
            (&["t", "f"], "text"),
            (&["2026-11-01T00:00:00Z", "2026-11-01 00:00:00"], "timestamp"),
            (&["2026-11-01"], "timestamp"),
            (&["2026-11-01", "soon"], "text"),
            (&["{\"a\":1}", "[]"], "json"),
            (&["{\"a\":1}", "[oops"], "text"),
            (&["", ""], "text"),
        ] {
            assert_eq!(of_csv(values), wanted, "{values:?}");
        }
    }

    #[test]
    fn json_values_keep_their_own_type() {
        for (values, wanted) in [
            (&["1", "null"][..], "integer"),
            (&["1", "2.5"], "float"),
            (&["9223372036854775808"], "json"),
            (&["true"], "boolean"),
            (&["\"1\""], "text"),
            (&["\"2026-11-01T00:00:00Z\""], "timestamp"),
            (&["\"2026-11-01T00:00:00Z\"", "\"\""], "text"),
            (&["1", "\"1\""], "json"),
            (&["{}", "[1]"], "json"),
            (&["null"], "text"),
        ] {
            assert_eq!(of_ndjson(values), wanted, "{values:?}");
        }
    }

    #[test]
    fn the_only_timestamp_is_the_time() {
        let header = StringRecord::from(vec!["at", "n"]);
        let mut inference = Inference::of_csv(&header);
        inference.record(&StringRecord::from(vec!["2026-11-01T00:00:00Z", "3"])).unwrap();
        let def = inference.definition().unwrap();
        assert_eq!(def.time.as_ref().map(ColumnName::as_str), Some("at"));
        let shown = inference.shown(&def);
        assert!(shown.contains("at      timestamp (time)       1  2026-11-01T00:00:00Z\n"), "{shown}");
    }

    #[test]
    fn names_that_no_column_can_have_are_refused() {
        for header in [vec!["a b"], vec!["a", "A"], vec!["_x"], vec![""]] {
            assert!(
                Inference::of_csv(&StringRecord::from(header.clone())).definition().is_err(),
                "{header:?}"
            );
        }
    }

    #[test]
    fn rows_of_another_shape_are_faults() {
        let mut inference = Inference::of_csv(&StringRecord::from(vec!["a", "b"]));
        assert!(inference.record(&StringRecord::from(vec!["1"])).is_err());
        assert!(Inference::of_ndjson().json("[1]").is_err());
        assert!(Inference::of_ndjson().json("{\"a\":").is_err());
    }
}
