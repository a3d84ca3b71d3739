//! Rows as bytes: written cell by cell into one buffer, with no tree between.

mod csv;
mod grouped;
mod json;
mod lines;
mod parquet;
mod series;

use std::sync::{Arc, Mutex, PoisonError};

use orderwire_store::{Cell, RowSink};

use crate::dialect::{Cast, Casted, text_of};
use crate::error::Error;

pub(crate) use csv::CsvRows;
pub(crate) use grouped::Grouped;
pub(crate) use json::{Frame, JsonRows};
pub(crate) use lines::LineRows;
pub(crate) use parquet::{Failed, ParquetRows};
pub(crate) use series::SeriesRows;

/// What the answer of a view ends with, before and after its flag: false when
/// it was read for this answer, true when it comes from the cache.
pub(crate) const FLAG: &[u8] = b"\"cache\": ";

/// How rows become bytes.
pub(crate) trait Shape: Send + 'static {
    /// Before the first row.
    fn open(&mut self, out: &mut Vec<u8>);
    /// One row; `first` tells whether another stands before it.
    fn row(&mut self, out: &mut Vec<u8>, cells: &mut dyn Iterator<Item = Cell<'_>>, first: bool);
    /// After the last row.
    fn close(&mut self, out: &mut Vec<u8>, empty: bool);
    /// About how many bytes it holds that are not written yet.
    fn held(&self) -> usize {
        0
    }
}

/// What a sink has written.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) body: Vec<u8>,
    pub(crate) rows: u64,
    /// Of the last row, the cells that are not shown, as texts.
    pub(crate) last: Vec<Option<String>>,
    /// A value that could not become what it is cast to; the read ended there.
    pub(crate) fault: Option<Error>,
}

/// What becomes of the cells of a row before they are shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// What each is cast to; none at all where there is nothing to cast.
    pub(crate) casts: Vec<Option<Cast>>,
    /// How many cells are shown, where more are read.
    pub(crate) shown: Option<usize>,
}

/// Where a sink leaves what it has written: the store hands sinks back as
/// trait objects, which cannot be opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot(Arc<Mutex<Written>>);

impl Slot {
    /// What the sink wrote; to be called when it is dropped.
    pub(crate) fn take(&self) -> Written {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes rows in a shape, up to a number of rows and of bytes.
pub(crate) struct Sink<S: Shape> {
    shape: S,
    written: Written,
    rows_max: u64,
    bytes_max: usize,
    changes: Changes,
    slot: Slot,
}

impl<S: Shape> Sink<S> {
    pub(crate) fn new(mut shape: S, rows_max: u64, bytes_max: usize, changes: Changes, slot: Slot) -> Self {
        let mut written = Written::default();
        shape.open(&mut written.body);
        Self { shape, written, rows_max, bytes_max, changes, slot }
    }

    /// A row whose cells are changed before they are shown; false after a fault.
    fn changed(&mut self, cells: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        let Changes { casts, shown } = &self.changes;
        let mut casted = Vec::with_capacity(casts.len());
        let mut last = Vec::new();
        for (place, cell) in cells.enumerate() {
            if shown.is_some_and(|shown| place >= shown) {
                last.push((cell != Cell::Null).then(|| text_of(cell)));
                continue;
            }
            match casts.get(place).copied().flatten() {
                None => casted.push(Casted::As(cell)),
                Some(cast) => match cast.apply(cell) {
                    Ok(value) => casted.push(value),
                    Err(fault) => {
                        self.written.fault = Some(fault);
                        return false;
                    }
                },
            }
        }
        let Written { body, rows, .. } = &mut self.written;
        self.shape.row(body, &mut casted.iter().map(Casted::cell), *rows == 0);
        self.written.last = last;
        true
    }
}

impl<S: Shape> RowSink for Sink<S> {
    fn row(&mut self, cells: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        // The first row is always taken, so that whoever reads on page by page
        // gets on.
        let Written { body, rows, .. } = &mut self.written;
        if *rows >= self.rows_max || (*rows > 0 && body.len() + self.shape.held() >= self.bytes_max) {
            return false;
        }
        if self.changes.shown.is_none() && self.changes.casts.iter().all(Option::is_none) {
            self.shape.row(body, cells, *rows == 0);
        } else if !self.changed(cells) {
            return false;
        }
        self.written.rows += 1;
        true
    }
}

impl<S: Shape> Drop for Sink<S> {
    fn drop(&mut self) {
        self.shape.close(&mut self.written.body, self.written.rows == 0);
        *self.slot.0.lock().unwrap_or_else(PoisonError::into_inner) = std::mem::take(&mut self.written);
    }
}

/// A text as JSON.
pub(crate) fn json_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a buffer takes any text");
}

#[cfg(test)]
mod tests;
