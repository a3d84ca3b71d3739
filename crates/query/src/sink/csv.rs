//! Rows as CSV with a header line (RFC 4180).
//!
//! An absent value is an empty field, an empty text is `""`; the csv library
//! cannot tell the two apart field by field, so quoting is done here.

use std::io::Write;

use orderwire_store::{Cell, Column};
use orderwire_types::array;

use super::Shape;

/// Rows as CSV.
pub(crate) struct CsvRows {
    header: Vec<String>,
}

impl CsvRows {
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self { header: columns.iter().map(|column| column.alias.clone()).collect() }
    }
}

impl Shape for CsvRows {
    fn open(&mut self, out: &mut Vec<u8>) {
        for (i, name) in self.header.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            field(out, name);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn row(&mut self, out: &mut Vec<u8>, cells: &mut dyn Iterator<Item = Cell<'_>>, _: bool) {
        for (i, cell) in cells.enumerate() {
            if i > 0 {
                out.push(b',');
            }
            value(out, cell);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn close(&mut self, _: &mut Vec<u8>, _: bool) {}
}

fn value(out: &mut Vec<u8>, cell: Cell<'_>) {
    const INFALLIBLE: &str = "a buffer takes any value";
    match cell {
        Cell::Null => {}
        Cell::Text(text) | Cell::Json(text) => field(out, text),
        Cell::Integer(number) => write!(out, "{number}").expect(INFALLIBLE),
        Cell::Float(number) => serde_json::to_writer(out, &number).expect(INFALLIBLE),
        Cell::Boolean(yes) => out.extend_from_slice(if yes { b"true" } else { b"false" }),
        Cell::Timestamp(moment) => write!(out, "{moment}").expect(INFALLIBLE),
        Cell::Decimal(number) => write!(out, "{number}").expect(INFALLIBLE),
        Cell::Date(date) => write!(out, "{date}").expect(INFALLIBLE),
        // As PostgREST has it.
        Cell::Texts(json) => match array::from_json(json) {
            Some(texts) => field(out, &array::to_literal(&texts)),
            None => field(out, json),
        },
        Cell::Uuid(id) => write!(out, "{id}").expect(INFALLIBLE),
    }
}

fn field(out: &mut Vec<u8>, text: &str) {
    let plain = !text.is_empty()
        && !text.starts_with(' ')
        && !text.ends_with(' ')
        && !text.contains(['"', ',', '\r', '\n']);
    if plain {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for (i, part) in text.split('"').enumerate() {
        if i > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(part.as_bytes());
    }
    out.push(b'"');
}
