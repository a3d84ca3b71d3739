//! Rows as NDJSON: an object a line.

use orderwire_store::{Cell, Column};

use super::Shape;
use super::json::Heads;

/// Rows as NDJSON.
pub(crate) struct LineRows(Heads);

impl LineRows {
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self(Heads::new(columns))
    }
}

impl Shape for LineRows {
    fn open(&mut self, _: &mut Vec<u8>) {}

    fn row(&mut self, out: &mut Vec<u8>, cells: &mut dyn Iterator<Item = Cell<'_>>, _: bool) {
        self.0.object(out, cells);
        out.push(b'\n');
    }

    fn close(&mut self, _: &mut Vec<u8>, _: bool) {}
}
