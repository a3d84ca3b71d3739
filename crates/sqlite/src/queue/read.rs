//! Reads that change nothing, on read-only connections.

use bytes::Bytes;
use orderwire_queue::Error;
use orderwire_queue::model::{Entry, Figures, Position, QueueState};
use orderwire_types::QueueName;
use orderwire_types::queue::{Kind, QueueDef};
use rusqlite::{Connection, OptionalExtension, Row};

use super::lane::{segment, segment_after};
use super::oldest::Oldest;
use super::state::{damaged, definition};
use super::stream::not_a_stream;

/// Every queue with its settings, by name.
pub(super) fn definitions(db: &Connection) -> rusqlite::Result<Vec<(QueueName, QueueDef)>> {
    db.prepare_cached("SELECT name, def FROM queue ORDER BY name")?.query_map([], definition)?.collect()
}

/// The state of a queue; `None` when there is none.
pub(super) fn state(
    db: &Connection,
    oldest: &Oldest,
    name: &QueueName,
) -> rusqlite::Result<Option<QueueState>> {
    db.prepare_cached("SELECT * FROM queue WHERE name = ?1")?
        .query_row([name.as_str()], |row| state_of(db, oldest, row))
        .optional()
}

/// The states of all queues, by name.
pub(super) fn states(db: &Connection, oldest: &Oldest) -> rusqlite::Result<Vec<QueueState>> {
    db.prepare_cached("SELECT * FROM queue ORDER BY name")?
        .query_map([], |row| state_of(db, oldest, row))?
        .collect()
}

/// The figures of all queues, by name.
pub(super) fn figures(db: &Connection) -> rusqlite::Result<Vec<(QueueName, Figures)>> {
    db.prepare_cached("SELECT name, waiting, in_flight, delayed, dead, paused FROM queue ORDER BY name")?
        .query_map([], |row| Ok((damaged(row.get::<_, String>("name")?.parse())?, figures_of(row)?)))?
        .collect()
}

/// The figures of a queue from its row.
fn figures_of(row: &Row<'_>) -> rusqlite::Result<Figures> {
    let count = |column| damaged(u64::try_from(row.get::<_, i64>(column)?));
    Ok(Figures {
        ready: count("waiting")?,
        in_flight: count("in_flight")?,
        delayed: count("delayed")?,
        dead: count("dead")?,
        paused: row.get("paused")?,
    })
}

/// The state of a queue from its row.
fn state_of(db: &Connection, oldest: &Oldest, row: &Row<'_>) -> rusqlite::Result<QueueState> {
    let (name, def) = definition(row)?;
    let Figures { ready, in_flight, delayed, dead, paused } = figures_of(row)?;
    let oldest = oldest.accepted_at(db, row.get("id")?)?;
    Ok(QueueState { name, def, ready, in_flight, delayed, dead, oldest, paused })
}

/// Id and kind of a queue, and whether it is paused.
pub(super) fn find(db: &Connection, name: &QueueName) -> rusqlite::Result<Option<(i64, Kind, bool)>> {
    db.prepare_cached("SELECT id, name, def, paused FROM queue WHERE name = ?1")?
        .query_row([name.as_str()], |row| Ok((row.get(0)?, definition(row)?.1.kind, row.get(3)?)))
        .optional()
}

/// Entries of a stream; `None` when there is no such queue.
pub(super) fn entries(
    db: &Connection,
    name: &QueueName,
    after: Position,
    max: usize,
    max_bytes: usize,
) -> rusqlite::Result<Result<Option<Vec<Entry>>, Error>> {
    let Some((id, kind, paused)) = find(db, name)? else { return Ok(Ok(None)) };
    if kind != Kind::Stream {
        return Ok(Err(not_a_stream(name)));
    }
    let mut entries = Vec::new();
    if paused {
        return Ok(Ok(Some(entries)));
    }
    let mut bytes = 0;
    let mut in_segment = db.prepare_cached(
        "SELECT d.position, e.body FROM delivery d CROSS JOIN event e ON e.position = d.position
         WHERE d.queue = ?1 AND d.segment = ?2 AND d.lane = 0 AND d.position > ?3 ORDER BY d.position",
    )?;
    let mut next = segment_after(db, id, segment(after.0) - 1)?;
    while let Some(here) = next {
        let mut rows = in_segment.query([id, here, after.0])?;
        while let Some(row) = rows.next()? {
            let body = row.get_ref(1)?.as_blob()?;
            bytes += body.len();
            if entries.len() >= max || (bytes > max_bytes && !entries.is_empty()) {
                return Ok(Ok(Some(entries)));
            }
            entries.push(Entry { position: Position(row.get(0)?), body: Bytes::copy_from_slice(body) });
        }
        next = segment_after(db, id, here)?;
    }
    Ok(Ok(Some(entries)))
}
