//! Reading a dataset.
//!
//! Each read has a thread of its own, because its sink may take its time. It waits for its turn
//! before it has one: there are as many turns as connections for reads, so that threads are
//! left for whatever else blocks. Rows come as the sink takes them: what it has not taken waits
//! at the server. A read whose time is up or whose caller has gone is cancelled there, and
//! its connection closed, so that the cancellation cannot meet what another one reads.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use orderwire_store::typed::Kind;
use orderwire_store::{Cell, Error, ErrorKind, RowSink, Select, Selected};
use orderwire_types::{DatasetName, Scope};
use tokio::time::Instant;
use tokio_postgres::{Row, Statement};
use tokio_util::sync::CancellationToken;

use super::error::{Failure, not_found};
use super::filter::Query;
use super::open::Shared;
use super::plan::Plan;
use super::session::Session;
use super::table::wire_type;
use super::value::Raw;

/// How often a read begins anew: its dataset was changed elsewhere, or its connection had ended.
const ATTEMPTS: u32 = 3;

/// How much longer than we the server lets a read go on. It ends those of a process that is gone.
const GRACE: Duration = Duration::from_secs(2);

/// The longest read.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

const WHAT: &str = "reading a dataset";

pub(super) async fn select(
    shared: &Arc<Shared>,
    scope: &Scope,
    select: Select,
    sink: Box<dyn RowSink>,
    time_out: Duration,
) -> Result<(Selected, Box<dyn RowSink>), Error> {
    let gone = CancellationToken::new();
    let _gone_when_dropped = gone.clone().drop_guard();
    let time_out = time_out.min(LONGEST);
    let deadline = Instant::now() + time_out;
    let turn = tokio::time::timeout_at(deadline, shared.select_turns.clone().acquire_owned()).await;
    let turn = turn.map_err(|_| late(&select.dataset, time_out))?.expect("turns never end");
    let reading = Reading { shared: shared.clone(), scope: scope.clone(), select, deadline, time_out, gone };
    let runtime = tokio::runtime::Handle::current();
    let read = tokio::task::spawn_blocking(move || {
        // Held by the thread, which may outlive its caller.
        let _turn = turn;
        runtime.block_on(reading.run(sink))
    });
    match read.await {
        Ok(done) => done,
        Err(error) => Err(Error::new(ErrorKind::Unavailable, format!("{WHAT}: its thread ended: {error}"))),
    }
}

fn late(dataset: &DatasetName, time_out: Duration) -> Error {
    Error::new(ErrorKind::TooCostly, format!("reading dataset {dataset} took longer than {time_out:?}"))
}

/// A read under way.
struct Reading {
    shared: Arc<Shared>,
    scope: Scope,
    select: Select,
    deadline: Instant,
    time_out: Duration,
    gone: CancellationToken,
}

/// What was read on a connection.
struct Read<T> {
    done: T,
    /// Whether nothing more comes.
    to_the_end: bool,
}

/// Why a read ended early.
enum Stop {
    /// Its time is up.
    Late,
    /// Its caller has gone.
    Gone,
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Reading {
    async fn run(self, mut sink: Box<dyn RowSink>) -> Result<(Selected, Box<dyn RowSink>), Error> {
        let name = &self.select.dataset;
        let mut attempt = 1;
        loop {
            let entry = self.shared.catalogue.visible(&self.scope, name);
            let entry = entry.ok_or_else(|| not_found(format!("{WHAT}: there is no {name}")))?;
            let plan = Plan::new(&entry.dataset.def, &self.scope, &self.select)?;
            let mut selected = Selected { rows: 0, total: None, cut: false };
            let failure = match self.read(&plan, sink.as_mut(), &mut selected).await {
                Ok(()) => return Ok((selected, sink)),
                Err(Stop::Late) => return Err(late(name, self.time_out)),
                Err(Stop::Gone) => {
                    return Err(Error::new(ErrorKind::Unavailable, format!("{WHAT}: its caller has gone")));
                }
                Err(Stop::Failed(failure)) => failure,
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

    async fn read(&self, plan: &Plan, sink: &mut dyn RowSink, selected: &mut Selected) -> Result<(), Stop> {
        self.on_a_connection(async |session: &Session| self.rows(session, plan, sink, selected).await)
            .await?;
        let Some(count) = &plan.count else { return Ok(()) };
        // A page that was not filled says itself where the rows end.
        let ended = !selected.cut && selected.rows < plan.limit && (selected.rows > 0 || plan.offset == 0);
        selected.total = Some(match ended {
            true => plan.offset + selected.rows,
            false => self.on_a_connection(async |session: &Session| self.count(session, count).await).await?,
        });
        Ok(())
    }

    /// Reads on a connection, which goes back to the pool when nothing runs on it any more.
    async fn on_a_connection<T>(
        &self,
        read: impl AsyncFnOnce(&Session) -> Result<Read<T>, Stop>,
    ) -> Result<T, Stop> {
        let session = self.in_time(Session::open(&self.shared.selects, WHAT)).await?;
        let (done, runs) = match read(&session).await {
            Ok(Read { done, to_the_end }) => (Ok(done), !to_the_end),
            Err(stop) => (Err(stop), true),
        };
        if runs {
            self.shared.selects.cancel(session.into_client());
        } else {
            session.give_back();
        }
        done
    }

    async fn rows(
        &self,
        session: &Session,
        plan: &Plan,
        sink: &mut dyn RowSink,
        selected: &mut Selected,
    ) -> Result<Read<()>, Stop> {
        let client = session.client();
        let statement = self.prepare(session, &plan.rows.sql).await?;
        if !statement
            .columns()
            .iter()
            .zip(&plan.kinds)
            .all(|(column, kind)| *column.type_() == wire_type(*kind))
        {
            return Err(Failure::Stale.into());
        }
        let rows = self.in_time(client.query_raw(&statement, plan.rows.values())).await?;
        let mut rows = pin!(rows);
        while let Some(row) = self.in_time(async { rows.next().await.transpose() }).await? {
            let mut cells = Cells { row: &row, kinds: &plan.kinds, at: 0, damage: None };
            let more = sink.row(&mut cells);
            if let Some(damage) = cells.damage {
                return Err(damage.into());
            }
            if !more {
                selected.cut = true;
                // Behind the last row that was asked for, the end is there already. Where it is
                // not well, the page still is, and only its connection is closed.
                let was_last = selected.rows + 1 == plan.limit;
                let to_the_end = was_last
                    && matches!(self.in_time(async { rows.next().await.transpose() }).await, Ok(None));
                return Ok(Read { done: (), to_the_end });
            }
            selected.rows += 1;
        }
        Ok(Read { done: (), to_the_end: true })
    }

    /// Prepares a statement that may take as long as the read.
    async fn prepare(&self, session: &Session, sql: &str) -> Result<Statement, Stop> {
        let client = session.client();
        let limit = format!("SET statement_timeout = {}", (self.time_out + GRACE).as_millis());
        // Both go out together.
        let prepared = async { tokio::try_join!(client.batch_execute(&limit), client.prepare_cached(sql)) };
        Ok(self.in_time(prepared).await?.1)
    }

    /// How many rows match.
    async fn count(&self, session: &Session, count: &Query) -> Result<Read<u64>, Stop> {
        let client = session.client();
        let statement = self.prepare(session, &count.sql).await?;
        let row = self.in_time(client.query_one(&statement, &count.values())).await?;
        let count: i64 = row.try_get(0).map_err(Failure::from)?;
        Ok(Read { done: count.unsigned_abs(), to_the_end: true })
    }

    /// What comes, unless time is up or the caller has gone before.
    async fn in_time<T, F: Into<Failure>>(
        &self,
        coming: impl Future<Output = Result<T, F>>,
    ) -> Result<T, Stop> {
        tokio::select! {
            biased;
            () = self.gone.cancelled() => Err(Stop::Gone),
            () = tokio::time::sleep_until(self.deadline) => Err(Stop::Late),
            come = coming => come.map_err(|failure| Stop::Failed(failure.into())),
        }
    }
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
