//! Trace steps: written with what they tell of, read by trace.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use orderwire_queue::engine::{LOOK, waiting_steps};
use orderwire_queue::model::TraceView;
use orderwire_types::EventId;
use orderwire_types::scope::Clients;
use orderwire_types::step::Step;
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::state::damaged;
use super::writer::{Tx, kept};
use super::{timestamp, told};
use crate::late::{Late, LateOptions};

/// A part of the index holds this many rows of `step`.
const PART_BITS: u32 = 17;

/// Rows of `step_trace` on their way there: part, trace and number.
pub(super) type Traces = Late<(i64, i64, i64), ()>;

/// Those that were on their way at the last commit.
pub(super) fn load_fresh(db: &Connection, options: &LateOptions) -> rusqlite::Result<Traces> {
    let mut traces = Late::new(options.traces, options.slice);
    let mut list = db.prepare("SELECT n, trace FROM fresh_trace ORDER BY n")?;
    let mut rows = list.query([])?;
    while let Some(row) = rows.next()? {
        let n: i64 = row.get(0)?;
        traces.restore(n, (n >> PART_BITS, row.get(1)?, n), ());
    }
    Ok(traces)
}

/// Brings rows that are due to the index.
pub(super) fn write_due(traces: &mut Traces, db: &Connection) -> rusqlite::Result<()> {
    let Some(due) = traces.due() else { return Ok(()) };
    let mut insert =
        db.prepare_cached("INSERT OR IGNORE INTO step_trace (part, trace, n) VALUES (?1, ?2, ?3)")?;
    for ((part, trace, n), ()) in due.entries {
        insert.execute([part, trace, n])?;
    }
    db.prepare_cached(
        "DELETE FROM fresh_trace WHERE n IN (SELECT n FROM fresh_trace WHERE n < ?1 ORDER BY n LIMIT ?2)",
    )?
    .execute([due.done, due.drop])?;
    Ok(())
}

/// The number of the last row.
pub(super) fn last(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("SELECT coalesce(max(n), 0) FROM step", [], |row| row.get(0))
}

/// The index holds the first eight bytes of a trace: enough to find few rows.
fn prefix(trace: &[u8; 16]) -> i64 {
    i64::from_be_bytes(*trace.first_chunk().expect("sixteen bytes"))
}

impl Tx<'_> {
    /// Stores steps of a trace, in order.
    pub(super) fn write_steps(
        &mut self,
        trace: &[u8; 16],
        client: &str,
        steps: &[Step],
    ) -> rusqlite::Result<()> {
        if steps.is_empty() {
            return Ok(());
        }
        let n = self.state.position();
        self.write_row(n, self.now, trace, client, steps)?;
        self.list_step(n, trace)
    }

    /// Stores steps under a number that is listed for the trace.
    pub(super) fn write_row(
        &self,
        n: i64,
        at: i64,
        trace: &[u8; 16],
        client: &str,
        steps: &[Step],
    ) -> rusqlite::Result<()> {
        let text = serde_json::to_string(steps).expect("a step is plain data");
        self.db
            .prepare_cached("INSERT INTO step (n, at, trace, client, steps) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![n, at, trace, client, text])?;
        Ok(())
    }

    /// Lists a number for a trace: that of steps, or the position of an event whose row
    /// tells them.
    pub(super) fn list_step(&mut self, n: i64, trace: &[u8; 16]) -> rusqlite::Result<()> {
        let traces = &mut self.state.lists(self.db)?.traces;
        let list = kept(&mut self.kept.list_step, || {
            self.db.prepare_cached("INSERT INTO fresh_trace (n, trace) VALUES (?1, ?2)")
        })?;
        let trace = prefix(trace);
        list.execute([n, trace])?;
        traces.add(n, (n >> PART_BITS, trace, n), ());
        Ok(())
    }

    /// Drops steps from before a time, at most `limit` rows.
    pub(super) fn drop_steps(&mut self, before: i64, limit: usize) -> rusqlite::Result<usize> {
        let old: Vec<(i64, i64, [u8; 16])> = {
            let mut oldest = self.db.prepare_cached("SELECT n, at, trace FROM step ORDER BY n LIMIT ?1")?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = oldest.query_map([limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let mut old = Vec::new();
            for row in rows {
                let row: (i64, i64, _) = row?;
                if row.1 >= before {
                    break;
                }
                old.push(row);
            }
            old
        };
        let traces = &mut self.state.lists(self.db)?.traces;
        let mut unlist =
            self.db.prepare_cached("DELETE FROM step_trace WHERE part = ?1 AND trace = ?2 AND n = ?3")?;
        let mut forget = self.db.prepare_cached("DELETE FROM fresh_trace WHERE n = ?1")?;
        let mut drop = self.db.prepare_cached("DELETE FROM step WHERE n = ?1")?;
        for (n, _, trace) in &old {
            let row = (*n >> PART_BITS, prefix(trace), *n);
            unlist.execute(row)?;
            forget.execute([*n])?;
            traces.remove(*n, &row);
            drop.execute([*n])?;
        }
        Ok(old.len())
    }
}

/// What is known of a trace.
pub(super) fn view(db: &Connection, trace: Uuid, clients: &Clients) -> rusqlite::Result<TraceView> {
    let mut view = TraceView::default();
    stored(db, trace, clients, &mut view)?;
    view.open = open_deliveries(&view.steps);
    waiting_in_streams(db, trace, clients, &mut view)?;
    let mut dead = db.prepare_cached("SELECT client FROM dead WHERE trace = ?1")?;
    let mut rows = dead.query([trace.as_bytes()])?;
    while let Some(row) = rows.next()? {
        if see(&mut view, clients, &row.get::<_, String>(0)?)? {
            view.dead += 1;
        }
    }
    view.steps.sort_by_key(|step| step.at);
    Ok(view)
}

/// Whether something of this client may be shown; notes whose the trace is.
fn see(view: &mut TraceView, clients: &Clients, client: &str) -> rusqlite::Result<bool> {
    let client = damaged(client.parse())?;
    let visible = match clients {
        Clients::All => true,
        Clients::Only(clients) => clients.contains(&client),
    };
    if visible {
        view.client.get_or_insert(client);
    }
    Ok(visible)
}

fn stored(db: &Connection, trace: Uuid, clients: &Clients, view: &mut TraceView) -> rusqlite::Result<()> {
    let mut find = db.prepare_cached("SELECT client, steps FROM step WHERE n = ?1 AND trace = ?2")?;
    for n in listed(db, prefix(trace.as_bytes()))? {
        let mut found = Vec::from_iter(told::appended(db, n, trace)?);
        let mut rows = find.query(params![n, trace.as_bytes()])?;
        while let Some(row) = rows.next()? {
            found.push((row.get(0)?, damaged(serde_json::from_str(&row.get::<_, String>(1)?))?));
        }
        for (client, steps) in found {
            if see(view, clients, &client)? {
                view.steps.extend(steps);
            }
        }
    }
    Ok(())
}

/// The numbers that traces of this beginning are listed under, in order.
fn listed(db: &Connection, prefix: i64) -> rusqlite::Result<BTreeSet<i64>> {
    // What is on its way to the index: few rows.
    let mut fresh = db.prepare_cached("SELECT n FROM fresh_trace WHERE trace = ?1")?;
    let mut listed: BTreeSet<i64> = fresh.query_map([prefix], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut find = db.prepare_cached("SELECT n FROM step_trace WHERE part = ?1 AND trace = ?2")?;
    // An event that nobody takes keeps its part, not those between it and the newest.
    let mut next = db.prepare_cached("SELECT part FROM step_trace WHERE part > ?1 ORDER BY part LIMIT 1")?;
    let mut after = i64::MIN;
    while let Some(part) = next.query_row([after], |row| row.get(0)).optional()? {
        after = part;
        for n in find.query_map([part, prefix], |row| row.get(0))? {
            listed.insert(n?);
        }
    }
    Ok(listed)
}

/// Deliveries to task queues that were queued and did not end. `steps` in the
/// order in which they were stored.
fn open_deliveries(steps: &[Step]) -> u64 {
    let mut open = BTreeSet::new();
    for step in steps {
        let (Some(queue), Some(event)) = (&step.queue, step.event_id) else { continue };
        match (step.step.as_str(), step.outcome.as_str()) {
            ("queued", "ok") | ("replayed", _) => {
                open.insert((event, queue.clone()));
            }
            ("attempt", "ok") | ("dead-lettered" | "discarded", _) => {
                open.remove(&(event, queue.clone()));
            }
            _ => {}
        }
    }
    u64::try_from(open.len()).expect("a count")
}

/// Entries that wait in a stream have no stored steps yet: looks at the newest.
fn waiting_in_streams(
    db: &Connection,
    trace: Uuid,
    clients: &Clients,
    view: &mut TraceView,
) -> rusqlite::Result<()> {
    let mut streams = BTreeMap::new();
    let mut all = db.prepare_cached("SELECT * FROM queue WHERE waiting + in_flight + delayed > 0")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let (name, def) = super::state::definition(row)?;
        if def.kind == orderwire_types::queue::Kind::Stream {
            let waiting = row.get::<_, i64>("waiting")?
                + row.get::<_, i64>("in_flight")?
                + row.get::<_, i64>("delayed")?;
            streams.insert(row.get::<_, i64>("id")?, (name, waiting));
        }
    }
    let Ok(count) = i64::try_from(streams.len()) else { return Ok(()) };
    let look = i64::try_from(LOOK).unwrap_or(i64::MAX) / count.max(1);
    for (id, (name, waiting)) in streams {
        view.partial |= waiting > look;
        for (client, event, accepted_at) in newest_of(db, id, trace, look)? {
            if see(view, clients, &client)? {
                view.open += 1;
                let [accepted, queued] = waiting_steps(event, accepted_at, &name);
                if !view.tells(&accepted) {
                    view.steps.push(accepted);
                }
                view.steps.push(queued);
            }
        }
    }
    Ok(())
}

/// Client, id and time of acceptance of the newest entries of this trace.
fn newest_of(
    db: &Connection,
    queue: i64,
    trace: Uuid,
    look: i64,
) -> rusqlite::Result<Vec<(String, EventId, Timestamp)>> {
    db.prepare_cached(
        "SELECT client, event_id, accepted_at FROM (
            SELECT e.client, e.event_id, e.accepted_at, e.trace
            FROM delivery d CROSS JOIN event e ON e.position = d.position
            WHERE d.queue = ?1 ORDER BY d.segment DESC, d.lane DESC, d.position DESC LIMIT ?3)
         WHERE trace = ?2",
    )?
    .query_map(params![queue, trace.as_bytes(), look], |row| {
        Ok((row.get(0)?, EventId(Uuid::from_bytes(row.get(1)?)), timestamp(row.get(2)?)))
    })?
    .collect()
}
