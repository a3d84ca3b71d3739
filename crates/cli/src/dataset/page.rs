//! Rows as the server answers them, taken apart without touching a digit.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The hidden column that pages go by.
pub(super) const SEQ: &str = "_seq";

/// The members of a JSON object, in order, each value as it is written.
#[derive(Debug)]
pub(super) struct Members<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A member's name, borrowed unless it is written with escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// What a page held: its rows without the hidden column, and where it ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) rows: u64,
    pub(super) last: Option<i64>,
}

/// Appends the rows of a JSON page to `out` as NDJSON.
pub(super) fn ndjson(body: &str, out: &mut Vec<u8>) -> Result<Page, String> {
    let rows: Vec<Members<'_>> = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let mut page = Page::default();
    for Members(members) in rows {
        out.push(b'{');
        let mut comma = false;
        for (name, value) in members {
            if name == SEQ {
                page.last = Some(seq(value.get())?);
                continue;
            }
            if comma {
                out.push(b',');
            }
            comma = true;
            serde_json::to_writer(&mut *out, &name).map_err(|error| error.to_string())?;
            out.push(b':');
            out.extend_from_slice(value.get().as_bytes());
        }
        out.extend_from_slice(b"}\n");
        page.rows += 1;
    }
    Ok(page)
}

/// Appends the rows of a CSV page to `out` as CSV without its header.
pub(super) fn csv(body: &str, out: &mut Vec<u8>) -> Result<Page, String> {
    let mut reader = csv::Reader::from_reader(body.as_bytes());
    let at = reader.headers().map_err(|error| error.to_string())?.iter().position(|name| name == SEQ);
    let mut writer = csv::Writer::from_writer(out);
    let mut page = Page::default();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let at = at.ok_or_else(|| format!("it has no column {SEQ}"))?;
        page.last = Some(seq(record.get(at).unwrap_or_default())?);
        let values = record.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, value)| value);
        writer.write_record(values).map_err(|error| error.to_string())?;
        page.rows += 1;
    }
    writer.flush().map_err(|error| error.to_string())?;
    Ok(page)
}

fn seq(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("{text:?} is no {SEQ}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lose_the_hidden_column_and_keep_every_digit() {
        let body = r#"[{"a":9007199254740993,"b":1.10,"c":{"x":[1.0e5]},"_seq":7},{"a":null,"\u00e9":"\"","_seq":9}]"#;
        let mut out = Vec::new();
        let page = ndjson(body, &mut out).unwrap();
        assert_eq!(page, Page { rows: 2, last: Some(9) });
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"a\":9007199254740993,\"b\":1.10,\"c\":{\"x\":[1.0e5]}}\n{\"a\":null,\"é\":\"\\\"\"}\n"
        );
    }

    #[test]
    fn csv_rows_lose_the_hidden_column() {
        let mut out = Vec::new();
        let page = csv("a,b,_seq\n1,\"x\ny\",3\n,\"q\"\"q\",4\n", &mut out).unwrap();
        assert_eq!(page, Page { rows: 2, last: Some(4) });
        assert_eq!(String::from_utf8(out).unwrap(), "1,\"x\ny\"\n,\"q\"\"q\"\n");
    }

    #[test]
    fn an_empty_page_ends_the_export() {
        assert_eq!(ndjson("[]", &mut Vec::new()).unwrap(), Page::default());
        assert_eq!(csv("a,_seq\n", &mut Vec::new()).unwrap(), Page::default());
        assert_eq!(csv("", &mut Vec::new()).unwrap(), Page::default());
    }

    #[test]
    fn what_is_no_page_is_refused() {
        assert!(ndjson("{}", &mut Vec::new()).is_err());
        assert!(ndjson(r#"[{"_seq":"x"}]"#, &mut Vec::new()).is_err());
        assert!(csv("a\n1\n", &mut Vec::new()).is_err());
    }
}
