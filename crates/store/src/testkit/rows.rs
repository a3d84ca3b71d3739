//! Reading rows in cases: every cell as a text that shows its type.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orderwire_types::Scope;

use super::kit::{Outcome, dataset};
use crate::select::{Cell, Column, Compare, Count, Filter, Nulls, OrderBy, RowSink, Select, Selected};
use crate::traits::Store;

/// Long enough for every read of a case.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A read of dataset `d`: these columns of all rows in order of arrival.
pub(super) fn of(columns: &[&str]) -> Select {
    let column = |&name: &&str| Column::named(name, format!("as_{name}"));
    Select {
        dataset: dataset("d"),
        columns: columns.iter().map(column).collect(),
        filter: Filter::And(Vec::new()),
        latest: Vec::new(),
        order: Vec::new(),
        limit: 1_000_000,
        offset: 0,
        count: Count::None,
    }
}

/// The same with a condition.
pub(super) fn only_if(select: Select, filter: Filter) -> Select {
    Select { filter, ..select }
}

pub(super) fn compare(column: &str, compare: Compare) -> Filter {
    Filter::Compare { column: column.into(), compare }
}

pub(super) fn ascending(column: &str, nulls: Nulls) -> OrderBy {
    OrderBy { column: column.into(), descending: false, nulls }
}

pub(super) fn descending(column: &str, nulls: Nulls) -> OrderBy {
    OrderBy { descending: true, ..ascending(column, nulls) }
}

/// The rows of a read, cells joined by spaces.
pub(super) async fn read(store: &Arc<dyn Store>, scope: &Scope, select: Select) -> Outcome<Vec<String>> {
    Ok(read_up_to(store, scope, select, usize::MAX).await?.0)
}

/// The same with the outcome; the sink takes at most `max` rows.
pub(super) async fn read_up_to(
    store: &Arc<dyn Store>,
    scope: &Scope,
    select: Select,
    max: usize,
) -> Outcome<(Vec<String>, Selected)> {
    let rows = Arc::new(Mutex::new(Vec::new()));
    let sink = Box::new(Texts { rows: rows.clone(), max });
    let (selected, sink) = store.select(scope, select, sink, PATIENCE).await?;
    drop(sink);
    let rows = std::mem::take(&mut *rows.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((rows, selected))
}

/// Takes rows as texts.
#[derive(Debug)]
struct Texts {
    rows: Arc<Mutex<Vec<String>>>,
    max: usize,
}

impl RowSink for Texts {
    fn row(&mut self, cells: &mut dyn Iterator<Item = Cell<'_>>) -> bool {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.len() == self.max {
            return false;
        }
        rows.push(cells.map(text).collect::<Vec<_>>().join(" "));
        true
    }
}

/// A cell as a text: quoted text, a float with its fraction, JSON behind a sign.
fn text(cell: Cell<'_>) -> String {
    match cell {
        Cell::Null => "null".to_owned(),
        Cell::Text(text) => format!("'{text}'"),
        Cell::Integer(integer) => integer.to_string(),
        Cell::Float(float) => format!("{float:?}"),
        Cell::Decimal(decimal) => format!("{decimal}m"),
        Cell::Boolean(boolean) => boolean.to_string(),
        Cell::Timestamp(at) => at.to_string(),
        Cell::Date(date) => date.to_string(),
        Cell::Uuid(id) => id.to_string(),
        Cell::Json(json) => format!("json:{json}"),
        Cell::Texts(json) => format!("texts:{json}"),
    }
}
