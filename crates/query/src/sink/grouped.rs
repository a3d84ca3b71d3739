//! Rows grouped by the value of a column: `{"<key>":{"values":[…]},…}`.
//!
//! Rows of one group come one after the other (the read is ordered by the
//! key), so that nothing but the present key is remembered.

use orderwire_store::{Cell, Column};

use super::json::Heads;
use super::{FLAG, Shape, json_text};

/// Rows grouped by their first cell, which is not shown among the values.
pub(crate) struct Grouped {
    heads: Heads,
    key: String,
    next: String,
}

impl Grouped {
    /// `columns` are those of the values, without the key before them.
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self { heads: Heads::new(columns), key: String::new(), next: String::new() }
    }
}

impl Shape for Grouped {
    fn open(&mut self, out: &mut Vec<u8>) {
        out.push(b'{');
    }

    fn row(&mut self, out: &mut Vec<u8>, cells: &mut dyn Iterator<Item = Cell<'_>>, first: bool) {
        member(&mut self.next, cells.next().unwrap_or(Cell::Null));
        if !first && self.key == self.next {
            out.extend_from_slice(b",\n");
        } else {
            if !first {
                out.extend_from_slice(b"]},\n");
            }
            json_text(out, &self.next);
            out.extend_from_slice(b":{\"values\":[");
            std::mem::swap(&mut self.key, &mut self.next);
        }
        self.heads.object(out, cells);
    }

    fn close(&mut self, out: &mut Vec<u8>, empty: bool) {
        out.extend_from_slice(if empty { b"".as_slice() } else { b"]},\n" });
        out.extend_from_slice(FLAG);
        out.extend_from_slice(b"true}");
    }
}

/// The member's name of a key. `cache` is the flag's and `null` stands for no
/// value: a text that is one of these, with any number of `_` after it, gets
/// one `_` more, so that different keys never meet.
pub(super) fn member(out: &mut String, cell: Cell<'_>) {
    use std::fmt::Write as _;
    out.clear();
    let written = match cell {
        Cell::Null => out.write_str("null"),
        Cell::Text(text) | Cell::Json(text) | Cell::Texts(text) => {
            let stem = text.trim_end_matches('_');
            let taken = matches!(stem, "cache" | "null");
            out.write_str(text).and_then(|()| if taken { out.write_char('_') } else { Ok(()) })
        }
        Cell::Integer(number) => write!(out, "{number}"),
        Cell::Float(number) => write!(out, "{number}"),
        Cell::Boolean(yes) => write!(out, "{yes}"),
        Cell::Timestamp(moment) => write!(out, "{moment}"),
        Cell::Decimal(number) => write!(out, "{number}"),
        Cell::Date(date) => write!(out, "{date}"),
        Cell::Uuid(id) => write!(out, "{id}"),
    };
    written.expect("a string takes any text");
}
