//! Trace records, by window of time.

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_store::{Error, Lineage, Link, TraceView, Traces};
use orderwire_types::step::{Step, TraceRecord};
use orderwire_types::{Client, Scope};
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::error::{Failure, damaged_value, invalid};
use super::links;
use super::open::SqliteStore;

/// The length of a window, in microseconds: one hour. Few enough to probe
/// each, small enough that ids at random stay in memory while it is written.
const WINDOW: i64 = 3_600_000_000;

/// The window of a moment.
pub(super) fn part(at: Timestamp) -> i64 {
    at.as_microsecond().div_euclid(WINDOW)
}

#[async_trait]
impl Traces for SqliteStore {
    async fn add_steps(&self, records: &[TraceRecord]) -> Result<(), Error> {
        let records = records.to_vec();
        self.write("adding trace steps", move |transaction| {
            for record in &records {
                // A record without steps says nothing and has no time.
                if let Some(at) = record.steps.iter().map(|step| step.at).max() {
                    add(transaction.connection, record, at)?;
                }
            }
            Ok(())
        })
        .await
    }

    async fn add_links(&self, links: &[Link]) -> Result<(), Error> {
        let links = links.to_vec();
        self.write("noting what events caused", move |transaction| {
            Ok(links::add(transaction.connection, &links)?)
        })
        .await
    }

    async fn lineage(&self, scope: &Scope, events: &[Uuid], links_max: usize) -> Result<Lineage, Error> {
        let (scope, events) = (scope.clone(), events.to_vec());
        self.look_up("reading what events caused", move |connection| {
            links::around(connection, &scope, &events, links_max)
        })
        .await
    }

    async fn trace(&self, scope: &Scope, trace: Uuid) -> Result<TraceView, Error> {
        let scope = scope.clone();
        self.look_up("reading a trace", move |connection| view(connection, &scope, trace)).await
    }
}

/// Stores one record in the window of `at`.
pub(super) fn add(connection: &Connection, record: &TraceRecord, at: Timestamp) -> Result<(), Failure> {
    let steps = serde_json::to_string(&record.steps)
        .map_err(|error| invalid(format!("steps of trace {}: {error}", record.trace)))?;
    let part = part(at);
    connection.prepare_cached("INSERT OR IGNORE INTO trace_part (part) VALUES (?1)")?.execute([part])?;
    connection
        .prepare_cached(
            "INSERT INTO trace_record (part, trace, n, client, steps) VALUES (?1, ?2, \
             (SELECT coalesce(max(n), 0) + 1 FROM trace_record WHERE part = ?1 AND trace = ?2), ?3, ?4)",
        )?
        .execute(params![part, &record.trace.as_bytes()[..], record.client.as_str(), steps])?;
    Ok(())
}

fn view(connection: &Connection, scope: &Scope, trace: Uuid) -> rusqlite::Result<TraceView> {
    // CROSS JOIN keeps the order of the loops: probe each window.
    let mut statement = connection.prepare_cached(
        "SELECT r.client, r.steps FROM trace_part p CROSS JOIN trace_record r \
         WHERE r.part = p.part AND r.trace = ?1 ORDER BY p.part, r.n",
    )?;
    let mut rows = statement.query([&trace.as_bytes()[..]])?;
    let mut view = TraceView::default();
    while let Some(row) = rows.next()? {
        let client: Client = row.get_ref(0)?.as_str()?.parse().map_err(|_| damaged_value(0, "client"))?;
        if !scope.covers(&client) {
            continue;
        }
        let steps: Vec<Step> =
            serde_json::from_str(row.get_ref(1)?.as_str()?).map_err(|_| damaged_value(1, "steps"))?;
        view.client.get_or_insert(client);
        view.steps.extend(steps);
    }
    view.steps.sort_by_key(|step| step.at);
    Ok(view)
}
