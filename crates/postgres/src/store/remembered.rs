//! The events whose rows are recorded and that may come again where no position tells.

use std::collections::HashSet;

use jiff::Timestamp;
use orderwire_store::{Recording, RowsEvent, RowsRecorded};
use uuid::Uuid;

use super::error::Failure;
use super::session::Session;
use super::traces::part;
use super::value::Moment;

/// Which of the events were recorded before, or stand in the same batch before.
pub(super) async fn repeated(session: &Session, events: &[RowsEvent]) -> Result<Vec<usize>, Failure> {
    let asked: Vec<Uuid> =
        events.iter().filter(|event| event.remembered).map(|event| event.event_id.0).collect();
    // One probe of each window for each event, whatever the planner knows of the table.
    let sql = "WITH RECURSIVE parts AS ( \
                 (SELECT part FROM store.remembered ORDER BY part LIMIT 1) \
                 UNION ALL \
                 SELECT (SELECT next.part FROM store.remembered AS next WHERE next.part > parts.part \
                         ORDER BY next.part LIMIT 1) \
                 FROM parts WHERE parts.part IS NOT NULL) \
               SELECT asked.id FROM unnest($1::uuid[]) AS asked (id), parts, store.remembered_since AS since, \
               LATERAL (SELECT at FROM store.remembered AS r \
                        WHERE r.part = parts.part AND r.event_id = asked.id LIMIT 1) AS found \
               WHERE found.at >= since.at";
    let rows = session.rows(sql, &[&asked]).await?;
    let mut known = rows.iter().map(|row| row.try_get(0)).collect::<Result<HashSet<Uuid>, _>>()?;
    let is_repeated = |(at, event): (usize, &RowsEvent)| {
        (event.remembered && !known.insert(event.event_id.0)).then_some(at)
    };
    Ok(events.iter().enumerate().filter_map(is_repeated).collect())
}

/// Remembers the new ones of a batch.
pub(super) async fn remember(
    session: &Session,
    recording: &Recording,
    results: &[RowsRecorded],
) -> Result<(), Failure> {
    let new = recording.events.iter().zip(results);
    let new = new.filter(|(event, done)| event.remembered && !done.repeated);
    let ids: Vec<Uuid> = new.map(|(event, _)| event.event_id.0).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO store.remembered (part, event_id, at) \
               SELECT $1, id, $2 FROM unnest($3::uuid[]) AS new (id) ORDER BY id \
               ON CONFLICT (part, event_id) DO UPDATE SET at = excluded.at";
    session.execute(sql, &[&part(recording.now), &Moment(recording.now), &ids]).await?;
    Ok(())
}

/// Forgets what is from before `before`, and frees the space of at most `limit` of them; of how
/// many it did.
pub(super) async fn forget(session: &Session, before: Timestamp, limit: u64) -> Result<u64, Failure> {
    let sql = "UPDATE store.remembered_since SET at = $1 WHERE at < $1";
    session.execute(sql, &[&Moment(before)]).await?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = "DELETE FROM store.remembered WHERE (part, event_id) IN ( \
               SELECT part, event_id FROM store.remembered WHERE part <= $1 AND at < $2 \
               ORDER BY part, event_id LIMIT $3)";
    session.execute(sql, &[&part(before), &Moment(before), &limit]).await
}
