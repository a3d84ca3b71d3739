//! Reading a dataset.
//!
//! Rows go to the sink as they come, on the task of the caller; what is not taken yet waits at
//! the server. A read whose time is up or whose caller has gone is cancelled there, and its
//! connection closed, so that the cancellation cannot meet what another one reads.

use std::pin::pin;
use std::time::Duration;

use deadpool_postgres::Client;
use futures::StreamExt as _;
use orderwire_store::typed::Kind;
use orderwire_store::{Cell, Error, ErrorKind, RowSink, Select, Selected};
use orderwire_types::{DatasetName, Scope};
use tokio_postgres::Row;

use super::error::{Failure, not_found};
use super::filter::Query;
use super::open::Shared;
use super::plan::Plan;
use super::session::Session;
use super::table::wire_type;
use super::value::Raw;
use crate::db::Database;

/// How often a read begins anew: its dataset was changed elsewhere, or its connection had ended.
const ATTEMPTS: u32 = 3;

/// The longest read; queries have 10 s. The server, which ends those of a process that is gone, is told so
/// once for each connection: a statement more for each read would be a tenth of what a page costs.
const LONGEST: Duration = Duration::from_secs(15);

/// How much longer than we the server lets a read go on.
const GRACE: Duration = Duration::from_secs(2);

const WHAT: &str = "reading a dataset";

/// How long a statement of a read may take at the server.
pub(super) const STATEMENT_TIMEOUT: Duration = LONGEST.saturating_add(GRACE);

pub(super) async fn select(
    shared: &Shared,
    scope: &Scope,
    select: Select,
    sink: Box<dyn RowSink>,
    time_out: Duration,
) -> Result<(Selected, Box<dyn RowSink>), Error> {
    let time_out = time_out.min(LONGEST);
    let name = select.dataset.clone();
    let reading = Reading { shared, scope, select };
    let read = tokio::time::timeout(time_out, reading.run(sink)).await;
    read.unwrap_or_else(|_| Err(late(&name, time_out)))
}

fn late(dataset: &DatasetName, time_out: Duration) -> Error {
    Error::new(ErrorKind::TooCostly, format!("reading dataset {dataset} took longer than {time_out:?}"))
}

/// A read under way.
struct Reading<'r> {
    shared: &'r Shared,
    scope: &'r Scope,
    select: Select,
}

/// A connection that a read may run on. It is cancelled there and closed, unless the read has ended.
struct Running<'r> {
    session: Option<Session>,
    selects: &'r Database,
}

impl Running<'_> {
    fn client(&self) -> &Client {
        self.session.as_ref().expect("there until the read has ended").client()
    }

    /// Nothing runs on it any more.
    fn ended(mut self) {
        if let Some(session) = self.session.take() {
            session.give_back();
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.selects.cancel(session.into_client());
        }
    }
}

impl Reading<'_> {
    async fn run(self, mut sink: Box<dyn RowSink>) -> Result<(Selected, Box<dyn RowSink>), Error> {
        let _turn = self.shared.select_turns.acquire().await.expect("turns never end");
        let name = &self.select.dataset;
        let mut attempt = 1;
        loop {
            let entry = self.shared.catalogue.visible(self.scope, name);
            let entry = entry.ok_or_else(|| not_found(format!("{WHAT}: there is no {name}")))?;
            let plan = Plan::new(&entry.dataset.def, self.scope, &self.select)?;
            let mut selected = Selected { rows: 0, total: None, cut: false };
            let Err(failure) = self.read(&plan, sink.as_mut(), &mut selected).await else {
                return Ok((selected, sink));
            };
            let again = failure.is_cut() || failure.is_stale();
            if !again || selected.rows > 0 || attempt == ATTEMPTS {
                return Err(failure.into_error(WHAT));
            }
            attempt += 1;
            if failure.is_stale() {
                self.shared.follow().await?;
            }
        }
    }

    async fn read(
        &self,
        plan: &Plan,
        sink: &mut dyn RowSink,
        selected: &mut Selected,
    ) -> Result<(), Failure> {
        let running = self.open().await?;
        if rows(running.client(), plan, sink, selected).await? {
            running.ended();
        }
        let Some(counting) = &plan.count else { return Ok(()) };
        // A page that was not filled says itself where the rows end.
        let ended = !selected.cut && selected.rows < plan.limit && (selected.rows > 0 || plan.offset == 0);
        selected.total = Some(if ended {
            plan.offset + selected.rows
        } else {
            let running = self.open().await?;
            let total = count(running.client(), counting).await?;
            running.ended();
            total
        });
        Ok(())
    }

    async fn open(&self) -> Result<Running<'_>, Failure> {
        let selects = &self.shared.selects;
        Ok(Running { session: Some(Session::open(selects, WHAT).await?), selects })
    }
}

/// Reads the rows; whether the read has ended at the server.
async fn rows(
    client: &Client,
    plan: &Plan,
    sink: &mut dyn RowSink,
    selected: &mut Selected,
) -> Result<bool, Failure> {
    let statement = client.prepare_cached(&plan.rows.sql).await?;
    let columns = statement.columns().iter().zip(&plan.kinds);
    if !columns.into_iter().all(|(column, kind)| *column.type_() == wire_type(*kind)) {
        return Err(Failure::Stale);
    }
    let mut rows = pin!(client.query_raw(&statement, plan.rows.values()).await?);
    while let Some(row) = rows.next().await.transpose()? {
        let mut cells = Cells { row: &row, kinds: &plan.kinds, at: 0, damage: None };
        let more = sink.row(&mut cells);
        if let Some(damage) = cells.damage {
            return Err(damage);
        }
        if !more {
            selected.cut = true;
            // Behind the last row that was asked for, the end is there already. Where it is
            // not well, the page still is, and only its connection is closed.
            return Ok(selected.rows + 1 == plan.limit && rows.next().await.is_none());
        }
        selected.rows += 1;
        // Rows that are there already would keep everybody else, and the time-out, waiting.
        tokio::task::consume_budget().await;
    }
    Ok(true)
}

/// How many rows match.
async fn count(client: &Client, count: &Query) -> Result<u64, Failure> {
    let statement = client.prepare_cached(&count.sql).await?;
    let count: i64 = client.query_one(&statement, &count.values()).await?.try_get(0)?;
    Ok(count.unsigned_abs())
}

/// The cells of the present row, without a copy.
struct Cells<'r> {
    row: &'r Row,
    kinds: &'r [Kind],
    at: usize,
    /// A value that is not of its column's type; the row ends there.
    damage: Option<Failure>,
}

impl<'r> Iterator for Cells<'r> {
    type Item = Cell<'r>;

    fn next(&mut self) -> Option<Cell<'r>> {
        let kind = *self.kinds.get(self.at)?;
        match cell(self.row, self.at, kind) {
            Ok(cell) => {
                self.at += 1;
                Some(cell)
            }
            Err(failure) => {
                self.at = self.kinds.len();
                self.damage = Some(failure);
                None
            }
        }
    }
}

fn cell(row: &Row, at: usize, kind: Kind) -> Result<Cell<'_>, Failure> {
    match row.try_get::<_, Option<Raw<'_>>>(at)? {
        None => Ok(Cell::Null),
        Some(raw) => Ok(raw.cell(kind)?),
    }
}
