//! Rows as arrays, one for each column: `{"series":{"at":[…],"no2":[…]},…}`, or one such object for
//! each value of a column.
//!
//! The arrays of one group are held until its last row has come; what is held counts as written.

use orderwire_store::{Cell, Column};

use super::grouped::member;
use super::json::value;
use super::{FLAG, Shape, json_text};

/// Rows as arrays of values.
pub(crate) struct SeriesRows {
    /// `"name":[`, written once.
    heads: Vec<Vec<u8>>,
    arrays: Vec<Vec<u8>>,
    /// Whether the first cell is the key of a group, which is not shown among the values.
    grouped: bool,
    key: String,
    next: String,
}

impl SeriesRows {
    /// `columns` are those of the values.
    pub(crate) fn new(columns: &[Column], grouped: bool) -> Self {
        let head = |column: &Column| {
            let mut head = Vec::new();
            json_text(&mut head, &column.alias);
            head.extend_from_slice(b":[");
            head
        };
        let heads: Vec<_> = columns.iter().map(head).collect();
        let arrays = vec![Vec::new(); heads.len()];
        Self { heads, arrays, grouped, key: "series".to_owned(), next: String::new() }
    }

    fn group(&mut self, out: &mut Vec<u8>) {
        json_text(out, &self.key);
        out.extend_from_slice(b":{");
        for (i, (head, array)) in self.heads.iter().zip(&mut self.arrays).enumerate() {
            if i > 0 {
                out.extend_from_slice(b",\n");
            }
            out.extend_from_slice(head);
            out.append(array);
            out.push(b']');
        }
        out.extend_from_slice(b"},\n");
    }
}

impl Shape for SeriesRows {
    fn open(&mut self, out: &mut Vec<u8>) {
        out.push(b'{');
    }

    fn row(&mut self, out: &mut Vec<u8>, cells: &mut dyn Iterator<Item = Cell<'_>>, first: bool) {
        let mut begins = first;
        if self.grouped {
            member(&mut self.next, cells.next().unwrap_or(Cell::Null));
            if first {
                std::mem::swap(&mut self.key, &mut self.next);
            } else if self.key != self.next {
                self.group(out);
                std::mem::swap(&mut self.key, &mut self.next);
                begins = true;
            }
        }
        for (array, cell) in self.arrays.iter_mut().zip(cells) {
            if !begins {
                array.push(b',');
            }
            value(array, cell);
        }
    }

    fn close(&mut self, out: &mut Vec<u8>, empty: bool) {
        if !empty || !self.grouped {
            self.group(out);
        }
        out.extend_from_slice(FLAG);
        out.extend_from_slice(b"true}");
    }

    fn held(&self) -> usize {
        self.arrays.iter().map(Vec::len).sum()
    }
}
