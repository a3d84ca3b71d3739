//! Rows of which only some columns are meant.

use std::collections::BTreeSet;
use std::fmt;

use orderwire_api::Problem;
use orderwire_types::Limits;
use orderwire_types::json::nests_at_most;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Form;
use crate::problems::{malformed, too_large};

/// The rows of a body with these columns alone, each value as it was written.
///
/// # Errors
/// When the body cannot be read.
pub(crate) fn only(
    columns: &BTreeSet<String>,
    form: Form,
    body: &[u8],
    limits: &Limits,
) -> Result<Vec<u8>, Problem> {
    let text = std::str::from_utf8(body).map_err(|err| malformed(format!("not UTF-8: {err}")))?;
    if form == Form::Csv {
        return csv(columns, text);
    }
    if !nests_at_most(body, limits.json_depth.saturating_add(2)) {
        return Err(too_large(format!("the body nests deeper than {} levels", limits.json_depth)));
    }
    let mut out = String::with_capacity(text.len());
    let not_json = |err: serde_json::Error| malformed(format!("not JSON: {err}"));
    if text.trim_start().starts_with('[') {
        let rows: Vec<&RawValue> = serde_json::from_str(text).map_err(not_json)?;
        out.push('[');
        for (index, row) in rows.into_iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            row_of(columns, row.get(), &mut out).map_err(not_json)?;
        }
        out.push(']');
    } else {
        row_of(columns, text.trim(), &mut out).map_err(not_json)?;
    }
    Ok(out.into_bytes())
}

/// What is no object stays as it is: the check of rows says what is wrong with it.
fn row_of(columns: &BTreeSet<String>, row: &str, out: &mut String) -> serde_json::Result<()> {
    if !row.starts_with('{') {
        out.push_str(row);
        return Ok(());
    }
    out.push('{');
    let mut deserializer = serde_json::Deserializer::from_str(row);
    Row { columns, out }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    out.push('}');
    Ok(())
}

struct Row<'r> {
    columns: &'r BTreeSet<String>,
    out: &'r mut String,
}

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut is_first = true;
        while let Some(name) = members.next_key::<String>()? {
            let value: &RawValue = members.next_value()?;
            if !self.columns.contains(&name) {
                continue;
            }
            if !is_first {
                self.out.push(',');
            }
            is_first = false;
            self.out.push_str(&serde_json::to_string(&name).map_err(A::Error::custom)?);
            self.out.push(':');
            self.out.push_str(value.get());
        }
        Ok(())
    }
}

fn csv(columns: &BTreeSet<String>, text: &str) -> Result<Vec<u8>, Problem> {
    let not_csv = |err: csv::Error| malformed(format!("not CSV: {err}"));
    if let Some(line) = orderwire_types::row::csv_open_quote(text.as_bytes()) {
        return Err(malformed(format!(
            "not CSV: line {line}: a value begins with a quote that is never closed"
        )));
    }
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let header = reader.headers().map_err(not_csv)?.clone();
    let is_meant = |name: &str| columns.contains(name.trim_start_matches('\u{feff}').trim());
    let meant: Vec<bool> = header.iter().map(is_meant).collect();
    let mut writer = csv::Writer::from_writer(Vec::with_capacity(text.len()));
    let mut write = |record: &csv::StringRecord| {
        // A record of another length keeps what shows that.
        let fields = record.iter().enumerate().filter(|(i, _)| meant.get(*i).copied().unwrap_or(true));
        writer.write_record(fields.map(|(_, field)| field)).map_err(not_csv)
    };
    write(&header)?;
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(not_csv)? {
        write(&record)?;
    }
    writer.into_inner().map_err(|err| malformed(format!("not CSV: {err}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(form: Form, body: &str) -> String {
        let columns = ["a", "b"].map(str::to_owned).into();
        String::from_utf8(only(&columns, form, body.as_bytes(), &Limits::default()).unwrap()).unwrap()
    }

    #[test]
    fn only_the_columns_that_are_meant_stay_as_they_were_written() {
        for (body, expected) in [
            (r#"[{"a":1.10,"c":2,"b":null},{"c":1}]"#, r#"[{"a":1.10,"b":null},{}]"#),
            (r#" {"c":1,"a":9007199254740993} "#, r#"{"a":9007199254740993}"#),
            ("[1]", "[1]"),
        ] {
            assert_eq!(picked(Form::Json, body), expected);
        }
        assert_eq!(picked(Form::Csv, "a,c,b\n1,2,\"3,4\"\n"), "a,b\n1,\"3,4\"\n");
    }
}
