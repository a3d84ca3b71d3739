//! Sinks that see other values, or do not end a read.

use crate::{Cell, RowSink};
use jiff::Timestamp;

use super::Fault;

pub(super) struct Faulty {
    pub(super) inner: Box<dyn RowSink>,
    pub(super) fault: Fault,
}

impl RowSink for Faulty {
    fn row(&mut self, cells: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        let fault = self.fault;
        let more = self.inner.row(&mut cells.map(|cell| changed(cell, fault)));
        more || fault == Fault::GoesOnWithoutTheSink
    }
}

/// Takes every row and forgets it.
pub(super) struct Nothing;

impl RowSink for Nothing {
    fn row(&mut self, _: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        true
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "that is the fault")]
fn changed(cell: Cell<'_>, fault: Fault) -> Cell<'_> {
    match (fault, cell) {
        (Fault::CutsToMillis, Cell::Timestamp(at)) => {
            Cell::Timestamp(Timestamp::from_millisecond(at.as_millisecond()).unwrap())
        }
        (Fault::DecimalsThroughFloat, Cell::Decimal(decimal)) => {
            let float: f64 = decimal.to_string().parse().unwrap();
            Cell::Decimal(float.to_string().parse().unwrap_or(decimal))
        }
        (Fault::JsonThroughFloat, Cell::Json(json)) => json.parse().map_or(cell, Cell::Float),
        (Fault::IntegersThroughFloat, Cell::Integer(integer)) => Cell::Integer(integer as f64 as i64),
        _ => cell,
    }
}
