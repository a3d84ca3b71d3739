//! Columns that come from beside the rows: from the topic of a message.

use std::collections::HashMap;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::csv::write_kept;
use super::reader::Reader;
use crate::dataset::Unknown;
use crate::envelope::write_text;
use crate::problem::Fault;

impl Reader {
    /// A document of rows, one object or an array of them, in which each row without one of
    /// these columns has it with this text, read as in CSV. What is no row stays as it is:
    /// [`Reader::read`] says what is wrong with it. The document has to be known not to
    /// nest deeply.
    ///
    /// # Errors
    /// `Invalid` when a text is no value of its column, or the dataset has no such
    /// column and takes no other; `Malformed` when the document is not JSON.
    pub fn filled(&self, json: &str, texts: &[(&str, &str)]) -> Result<String, Fault> {
        let mut members = Vec::with_capacity(texts.len());
        for (name, text) in texts {
            let column = self.index.get(*name).map(|i| &self.columns[*i]);
            let mut member = String::new();
            write_text(&mut member, name);
            member.push(':');
            match (column, self.unknown) {
                (Some(column), _) => self.write_csv_value(column, text, &mut member)?,
                (None, Unknown::Keep) => write_kept(text, &mut member),
                (None, Unknown::Ignore) => continue,
                (None, Unknown::Reject) => return Err(Self::unknown_field(name)),
            }
            members.push((*name, member));
        }
        let json = json.trim();
        let mut out = String::with_capacity(json.len() + 64);
        if json.starts_with('[') {
            let rows: Vec<&RawValue> = serde_json::from_str(json).map_err(|err| not_json(&err))?;
            out.push('[');
            for (index, row) in rows.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                fill(&mut out, row.get(), &members)?;
            }
            out.push(']');
        } else {
            fill(&mut out, json, &members)?;
        }
        Ok(out)
    }
}

/// Appends one row with those members that it lacks.
fn fill(out: &mut String, row: &str, members: &[(&str, String)]) -> Result<(), Fault> {
    let Some(open) = row.strip_suffix('}').filter(|_| row.starts_with('{')) else {
        out.push_str(row);
        return Ok(());
    };
    let there: HashMap<String, IgnoredAny> = serde_json::from_str(row).map_err(|err| not_json(&err))?;
    out.push_str(open);
    let mut is_first = there.is_empty();
    for (_, member) in members.iter().filter(|(name, _)| !there.contains_key(*name)) {
        if !is_first {
            out.push(',');
        }
        is_first = false;
        out.push_str(member);
    }
    out.push('}');
    Ok(())
}

fn not_json(err: &serde_json::Error) -> Fault {
    Fault::malformed(format!("not JSON: {err}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::DatasetDef;
    use crate::limits::Limits;

    fn reader() -> Reader {
        let def: DatasetDef = serde_json::from_str(
            r#"{"fields":[{"name":"id","type":"text"},{"name":"n","type":"integer"},{"name":"v","type":"float"}]}"#,
        )
        .unwrap();
        Reader::new(&def, &Limits::default())
    }

    #[test]
    fn rows_get_what_they_lack_and_keep_what_they_have() {
        let texts = [("id", "a\"b"), ("n", "7")];
        for (json, filled) in [
            (r#"{"v":1.10}"#, r#"{"v":1.10,"id":"a\"b","n":7}"#),
            (" { } ", r#"{ "id":"a\"b","n":7}"#),
            (r#"{"id":null,"n":1}"#, r#"{"id":null,"n":1}"#),
            (r#"[{"id":"x"},{"n":2}]"#, r#"[{"id":"x","n":7},{"n":2,"id":"a\"b"}]"#),
            ("[]", "[]"),
            ("[1,null]", "[1,null]"),
            ("21.5", "21.5"),
        ] {
            assert_eq!(reader().filled(json, &texts).unwrap(), filled, "{json}");
        }
    }

    #[test]
    fn a_text_that_is_no_value_of_its_column_is_a_fault_of_it() {
        assert_eq!(reader().filled("{}", &[("n", "x")]).unwrap_err().pointer, "/n");
        assert_eq!(reader().filled("{}", &[("no2", "1")]).unwrap_err().pointer, "/no2");
        for bad in ["[{]", "{\"a\"}"] {
            assert!(reader().filled(bad, &[("n", "1")]).is_err(), "{bad}");
        }
    }
}
