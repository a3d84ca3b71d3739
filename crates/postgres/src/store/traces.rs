//! Trace records, by window of time.

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_store::{Error, Lineage, Link, TraceView, Traces};
use orderwire_types::step::{Step, TraceRecord};
use orderwire_types::{Client, Scope};
use uuid::Uuid;

use super::error::{Failure, damaged, invalid};
use super::links;
use super::open::PostgresStore;
use super::session::{Session, read, write};

/// The length of a window, in microseconds: one hour. Few enough to probe
/// each, small enough that ids at random stay in memory while it is written.
const WINDOW: i64 = 3_600_000_000;

/// The window of a moment.
pub(super) fn part(at: Timestamp) -> i64 {
    at.as_microsecond().div_euclid(WINDOW)
}

#[async_trait]
impl Traces for PostgresStore {
    async fn add_steps(&self, records: &[TraceRecord]) -> Result<(), Error> {
        // A record without steps says nothing and has no time.
        let at = |record: &TraceRecord| record.steps.iter().map(|step| step.at).max();
        write!(&self.shared.database, "adding trace steps", |session| {
            add(session, records.iter().filter_map(|record| Some((record, at(record)?)))).await
        })
    }

    async fn add_links(&self, links: &[Link]) -> Result<(), Error> {
        write!(&self.shared.database, "noting what events caused", |session| {
            links::add(session, links).await
        })
    }

    async fn lineage(&self, scope: &Scope, events: &[Uuid], links_max: usize) -> Result<Lineage, Error> {
        read!(&self.shared.database, "reading what events caused", |session| {
            links::around(session, scope, events, links_max).await
        })
    }

    async fn trace(&self, scope: &Scope, trace: Uuid) -> Result<TraceView, Error> {
        read!(&self.shared.database, "reading a trace", |session| view(session, scope, trace).await)
    }
}

/// Stores records, each in the window of its moment, in this order.
pub(super) async fn add<'r>(
    session: &Session,
    records: impl Iterator<Item = (&'r TraceRecord, Timestamp)>,
) -> Result<(), Failure> {
    let (mut parts, mut traces, mut clients, mut steps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (record, at) in records {
        let text = serde_json::to_string(&record.steps)
            .map_err(|error| invalid(format!("steps of trace {}: {error}", record.trace)))?;
        parts.push(part(at));
        traces.push(record.trace);
        clients.push(record.client.as_str());
        steps.push(text);
    }
    if parts.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO store.trace_record (part, trace, client, steps) \
               SELECT part, trace, client, steps \
               FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[]) \
               WITH ORDINALITY AS new (part, trace, client, steps, place) ORDER BY place";
    session.execute(sql, &[&parts, &traces, &clients, &steps]).await?;
    Ok(())
}

async fn view(session: &Session, scope: &Scope, trace: Uuid) -> Result<TraceView, Failure> {
    // From window to window by the key, never through their records.
    let sql = "WITH RECURSIVE window_of AS ( \
                   (SELECT part FROM store.trace_record ORDER BY part LIMIT 1) \
                   UNION ALL \
                   SELECT (SELECT r.part FROM store.trace_record r WHERE r.part > w.part ORDER BY r.part LIMIT 1) \
                   FROM window_of w WHERE w.part IS NOT NULL) \
               SELECT r.client, r.steps FROM window_of w \
               JOIN store.trace_record r ON r.part = w.part AND r.trace = $1 \
               ORDER BY r.part, r.n";
    let mut view = TraceView::default();
    for row in session.rows(sql, &[&trace]).await? {
        let client: &str = row.try_get(0)?;
        let client: Client = client.parse().map_err(|_| damaged("client of a trace"))?;
        if !scope.covers(&client) {
            continue;
        }
        let steps: Vec<Step> =
            serde_json::from_str(row.try_get(1)?).map_err(|_| damaged("step of a trace"))?;
        view.client.get_or_insert(client);
        view.steps.extend(steps);
    }
    view.steps.sort_by_key(|step| step.at);
    Ok(view)
}
