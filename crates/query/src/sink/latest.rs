//! The first row of each key: of rows in the order of their key and then the newest first, the latest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use orderwire_store::{Cell, RowSink};

use super::json::value;
use super::{Shape, Sink};

/// Passes on the first row of each key, without the key itself.
pub(crate) struct LatestRows<S: Shape> {
    inner: Sink<S>,
    /// How many cells at the beginning of a row are its key.
    cells: usize,
    key: Vec<u8>,
    next: Vec<u8>,
    begun: bool,
    /// Keys that are still passed over.
    offset: u64,
    /// Keys that may still be passed on.
    limit: u64,
    /// Whether the limit ended the read.
    limited: Arc<AtomicBool>,
}

impl<S: Shape> LatestRows<S> {
    pub(crate) fn new(
        inner: Sink<S>,
        cells: usize,
        offset: u64,
        limit: u64,
        limited: Arc<AtomicBool>,
    ) -> Self {
        Self { inner, cells, key: Vec::new(), next: Vec::new(), begun: false, offset, limit, limited }
    }
}

impl<S: Shape> RowSink for LatestRows<S> {
    fn row(&mut self, cells: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        self.next.clear();
        for cell in (&mut *cells).take(self.cells) {
            value(&mut self.next, cell);
            // No JSON has it, so that two keys never meet.
            self.next.push(0);
        }
        if self.begun && self.key == self.next {
            return true;
        }
        if self.offset > 0 {
            self.offset -= 1;
        } else if self.limit == 0 {
            self.limited.store(true, Ordering::Relaxed);
            return false;
        } else if self.inner.row(cells) {
            self.limit -= 1;
        } else {
            return false;
        }
        self.begun = true;
        std::mem::swap(&mut self.key, &mut self.next);
        true
    }
}

#[cfg(test)]
mod tests {
    use orderwire_store::Column;

    use super::super::{Changes, LineRows, Slot};
    use super::*;

    fn latest(offset: u64, limit: u64, rows_max: u64) -> (String, bool, bool) {
        let slot = Slot::default();
        let columns = [Column::named("n", "n")];
        let inner =
            Sink::new(LineRows::new(&columns), rows_max, usize::MAX, Changes::default(), slot.clone());
        let limited = Arc::new(AtomicBool::new(false));
        let mut sink = LatestRows::new(inner, 2, offset, limit, limited.clone());
        let rows = [("a", "x", 1), ("a", "x", 2), ("a", "y", 3), ("b", "y", 4), ("b", "y", 5), ("c", "x", 6)];
        let whole = rows.iter().all(|(key, client, n)| {
            sink.row(&mut [Cell::Text(key), Cell::Text(client), Cell::Integer(*n)].into_iter())
        });
        drop(sink);
        (String::from_utf8(slot.take().body).unwrap(), whole, limited.load(Ordering::Relaxed))
    }

    #[test]
    fn the_first_row_of_each_key_is_passed_on() {
        assert_eq!(latest(0, 9, 9), ("{\"n\":1}\n{\"n\":3}\n{\"n\":4}\n{\"n\":6}\n".into(), true, false));
    }

    #[test]
    fn limits_count_keys_and_tell_who_ended_the_read() {
        assert_eq!(latest(1, 2, 9), ("{\"n\":3}\n{\"n\":4}\n".into(), false, true));
        assert_eq!(latest(0, 9, 2), ("{\"n\":1}\n{\"n\":3}\n".into(), false, false));
    }
}
