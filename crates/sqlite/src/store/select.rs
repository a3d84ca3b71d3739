//! Reading a dataset.
//!
//! A read is planned by the catalogue, and may wait until it begins. Whether the dataset is still as planned
//! is asked in the transaction of the read; otherwise it is planned anew.

use std::time::Duration;

use jiff::Timestamp;
use orderwire_store::typed::Kind;
use orderwire_store::{Cell, Error, ErrorKind, RowSink, Select, Selected};
use orderwire_types::Scope;
use orderwire_types::row::parse_date;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params_from_iter};
use tokio::time::Instant;
use uuid::Uuid;

use super::error::{damaged_value, invalid, not_found};
use super::filter::Binding;
use super::open::SqliteStore;
use super::plan::Plan;

pub(super) async fn select(
    store: &SqliteStore,
    scope: &Scope,
    select: Select,
    sink: Box<dyn RowSink>,
    time_out: Duration,
) -> Result<(Selected, Box<dyn RowSink>), Error> {
    let name = select.dataset.clone();
    let began = Instant::now();
    let mut sink = sink;
    loop {
        let entry = store.catalogue.visible(scope, &name);
        let entry = entry.ok_or_else(|| not_found(format!("reading dataset {name}: there is none")))?;
        let plan = Plan::new(&entry.dataset.def, scope, &select)?;
        let read = move |connection: &Connection| {
            let mut sink = sink;
            // The first statement: from here on the transaction sees one state of the file.
            if !entry.is_in(connection)? {
                return Ok(Read::Changed(sink));
            }
            match plan.run(connection, sink.as_mut()) {
                Ok(selected) => Ok(Read::Done(selected, sink)),
                Err(rusqlite::Error::IntegralValueOutOfRange(..)) => Ok(Read::OutOfRange),
                Err(error) => Err(error),
            }
        };
        let left = time_out.saturating_sub(began.elapsed());
        match store.selects.read_within("reading a dataset", left, read).await {
            Ok(Some(Read::Done(selected, sink))) => return Ok((selected, sink)),
            // Whoever changed it is about to say so.
            Ok(Some(Read::Changed(back))) => {
                sink = back;
                tokio::task::yield_now().await;
            }
            Ok(Some(Read::OutOfRange)) => {
                return Err(invalid(format!("reading dataset {name}: a number is out of range")));
            }
            Ok(None) => {
                let message = format!("reading dataset {name} took longer than {time_out:?}");
                return Err(Error::new(ErrorKind::TooCostly, message));
            }
            Err(error) => return Err(store.read_failed(&error)),
        }
    }
}

/// How a read went.
enum Read {
    Done(Selected, Box<dyn RowSink>),
    /// The dataset was changed or removed after the read was planned.
    Changed(Box<dyn RowSink>),
    OutOfRange,
}

impl Plan {
    fn run(&self, connection: &Connection, sink: &mut dyn RowSink) -> rusqlite::Result<Selected> {
        let mut selected = Selected { rows: 0, total: None, cut: false };
        let number = |number: u64| Binding::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        let page = [number(self.limit), number(self.offset)];
        let mut statement = connection.prepare_cached(&self.rows.sql)?;
        let mut rows = statement.query(params_from_iter(self.rows.bound.iter().chain(&page)))?;
        while let Some(row) = rows.next()? {
            let mut cells = Cells { row, kinds: &self.kinds, at: 0, damage: None };
            let more = sink.row(&mut cells);
            if let Some(damage) = cells.damage {
                return Err(damage);
            }
            if !more {
                selected.cut = true;
                break;
            }
            selected.rows += 1;
        }
        drop(rows);
        if let Some(count) = &self.count {
            // A page that was not filled says itself where the rows end.
            let ended =
                !selected.cut && selected.rows < self.limit && (selected.rows > 0 || self.offset == 0);
            selected.total = Some(match ended {
                true => self.offset + selected.rows,
                false => {
                    let mut statement = connection.prepare_cached(&count.sql)?;
                    statement
                        .query_row(params_from_iter(&count.bound), |row| row.get::<_, i64>(0))?
                        .unsigned_abs()
                }
            });
        }
        Ok(selected)
    }
}

/// The cells of the present row, without a copy.
struct Cells<'r, 'stmt> {
    row: &'r Row<'stmt>,
    kinds: &'r [Kind],
    at: usize,
    /// A value that is not of its column's type; the row ends there.
    damage: Option<rusqlite::Error>,
}

impl<'r> Iterator for Cells<'r, '_> {
    type Item = Cell<'r>;

    fn next(&mut self) -> Option<Cell<'r>> {
        let kind = *self.kinds.get(self.at)?;
        match cell(self.row, self.at, kind) {
            Ok(cell) => {
                self.at += 1;
                Some(cell)
            }
            Err(error) => {
                self.at = self.kinds.len();
                self.damage = Some(error);
                None
            }
        }
    }
}

fn cell<'r>(row: &'r Row<'_>, at: usize, kind: Kind) -> rusqlite::Result<Cell<'r>> {
    let value = row.get_ref(at)?;
    Ok(match (kind, value) {
        (_, ValueRef::Null) => Cell::Null,
        (Kind::Text, text) => Cell::Text(text.as_str()?),
        (Kind::Json, text) => Cell::Json(text.as_str()?),
        (Kind::Integer, ValueRef::Integer(integer)) => Cell::Integer(integer),
        (Kind::Float, ValueRef::Real(float)) if float.is_finite() => Cell::Float(float),
        // Of values that are all finite: their sum.
        (Kind::Float, ValueRef::Real(_)) => {
            return Err(rusqlite::Error::IntegralValueOutOfRange(at, i64::MAX));
        }
        (Kind::Texts, text) => Cell::Texts(text.as_str()?),
        (Kind::Decimal, text) => {
            Cell::Decimal(text.as_str()?.parse().map_err(|_| damaged_value(at, "decimal"))?)
        }
        (Kind::Date, text) => {
            Cell::Date(parse_date(text.as_str()?).ok_or_else(|| damaged_value(at, "date"))?)
        }
        (Kind::Boolean, ValueRef::Integer(integer)) => Cell::Boolean(integer != 0),
        (Kind::Timestamp, ValueRef::Integer(micros)) => {
            Cell::Timestamp(Timestamp::from_microsecond(micros).map_err(|_| damaged_value(at, "moment"))?)
        }
        (Kind::Uuid, ValueRef::Blob(bytes)) => {
            Cell::Uuid(Uuid::from_slice(bytes).map_err(|_| damaged_value(at, "id"))?)
        }
        (Kind::Integer | Kind::Float | Kind::Boolean | Kind::Timestamp | Kind::Uuid, _) => {
            return Err(damaged_value(at, "value"));
        }
    })
}
