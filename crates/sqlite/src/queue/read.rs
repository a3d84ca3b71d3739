//! Reads that change nothing, on read-only connections.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bytes::Bytes;
use orderwire_queue::Error;
use orderwire_queue::model::{Entry, Position, QueueState};
use orderwire_types::QueueName;
use orderwire_types::queue::{Kind, QueueDef};
use orderwire_types::scope::Clients;
use rusqlite::{Connection, OptionalExtension, params};

use super::lane::{Lane, first_delivery, segment, segment_after};
use super::state::{damaged, definition};
use super::stream::not_a_stream;
use super::timestamp;

/// Every queue with its settings, by name.
pub(super) fn definitions(db: &Connection) -> rusqlite::Result<Vec<(QueueName, QueueDef)>> {
    db.prepare_cached("SELECT name, def FROM queue ORDER BY name")?.query_map([], definition)?.collect()
}

/// The state of a queue; `None` when there is none.
pub(super) fn state(db: &Connection, name: &QueueName) -> rusqlite::Result<Option<QueueState>> {
    let found = db
        .prepare_cached("SELECT * FROM queue WHERE name = ?1")?
        .query_row([name.as_str()], |row| {
            let (name, def) = definition(row)?;
            let count = |column| damaged(u64::try_from(row.get::<_, i64>(column)?));
            let state = QueueState {
                name,
                def,
                ready: count("waiting")?,
                in_flight: count("in_flight")?,
                delayed: count("delayed")?,
                dead: count("dead")?,
                oldest: None,
                paused: row.get("paused")?,
            };
            Ok((row.get::<_, i64>("id")?, state))
        })
        .optional()?;
    let Some((id, mut state)) = found else { return Ok(None) };
    state.oldest = oldest(db, id)?;
    Ok(Some(state))
}

fn oldest(db: &Connection, queue: i64) -> rusqlite::Result<Option<jiff::Timestamp>> {
    let Some(first) = segment_after(db, queue, i64::MIN)? else { return Ok(None) };
    db.prepare_cached(
        "SELECT accepted_at FROM event WHERE position =
            (SELECT min(position) FROM delivery WHERE queue = ?1 AND segment = ?2)",
    )?
    .query_row([queue, first], |row| row.get(0))
    .optional()
    .map(|at| at.map(timestamp))
}

/// Id and kind of a queue, and whether it is paused.
fn find(db: &Connection, name: &QueueName) -> rusqlite::Result<Option<(i64, Kind, bool)>> {
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

/// The first unsettled deliveries of these clients; `None` when there is no
/// such queue.
pub(super) fn peek(
    db: &Connection,
    name: &QueueName,
    clients: &Clients,
    max: usize,
) -> rusqlite::Result<Option<Vec<(u32, Entry)>>> {
    let Some((id, kind, _)) = find(db, name)? else { return Ok(None) };
    let found = match clients {
        Clients::Only(clients) if kind == Kind::Task => {
            let clients: Vec<&str> = clients.iter().map(orderwire_types::Client::as_str).collect();
            by_lane(db, id, &clients, max)?
        }
        _ => by_segment(db, id, clients, max)?,
    };
    found
        .into_iter()
        .map(|(lane, position, ended)| {
            let body: Vec<u8> = db
                .prepare_cached("SELECT body FROM event WHERE position = ?1")?
                .query_row([position], |row| row.get(0))?;
            let held = Lane::load(db, id, lane)?.is_some_and(|lane| lane.holds(position));
            let entry = Entry { position: Position(position), body: body.into() };
            Ok((ended + u32::from(held), entry))
        })
        .collect::<rusqlite::Result<_>>()
        .map(Some)
}

/// (lane, position, ended attempts)
type Found = (i64, i64, u32);

/// In order of position over all lanes: within a segment that is a sort.
fn by_segment(db: &Connection, queue: i64, clients: &Clients, max: usize) -> rusqlite::Result<Vec<Found>> {
    let mut found = Vec::new();
    let only = match clients {
        Clients::All => None,
        Clients::Only(clients) => {
            let names: Vec<&str> = clients.iter().map(orderwire_types::Client::as_str).collect();
            Some(serde_json::to_string(&names).expect("names are text"))
        }
    };
    let mut in_segment = db.prepare_cached(
        "SELECT d.lane, d.position, d.attempt FROM delivery d WHERE d.queue = ?1 AND d.segment = ?2
         AND (?3 IS NULL OR (SELECT client FROM event e WHERE e.position = d.position)
              IN (SELECT value FROM json_each(?3)))
         ORDER BY d.position LIMIT ?4",
    )?;
    let mut next = segment_after(db, queue, i64::MIN)?;
    while let Some(here) = next.filter(|_| found.len() < max) {
        let room = i64::try_from(max - found.len()).unwrap_or(i64::MAX);
        let rows = in_segment
            .query_map(params![queue, here, only, room], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        for row in rows {
            found.push(row?);
        }
        next = segment_after(db, queue, here)?;
    }
    Ok(found)
}

/// The lanes of the clients, merged by position.
fn by_lane(db: &Connection, queue: i64, clients: &[&str], max: usize) -> rusqlite::Result<Vec<Found>> {
    let mut lanes = BinaryHeap::new();
    let mut list = db.prepare_cached("SELECT head, lane FROM lane WHERE queue = ?1 AND client = ?2")?;
    for client in clients {
        let mut rows = list.query(params![queue, client])?;
        while let Some(row) = rows.next()? {
            lanes.push((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
            // Only the first `max` lanes can give one of the first `max`.
            if lanes.len() > max {
                lanes.pop();
            }
        }
    }
    let mut next: BinaryHeap<Reverse<(i64, i64)>> = lanes.into_iter().map(Reverse).collect();
    let mut found = Vec::new();
    while found.len() < max
        && let Some(Reverse((from, lane))) = next.pop()
    {
        // A leased lane's head may be settled already.
        let Some((position, ended)) = first_delivery(db, queue, lane, from, i64::MAX)? else { continue };
        if position == from {
            found.push((lane, position, ended));
            next.push(Reverse((position + 1, lane)));
        } else {
            next.push(Reverse((position, lane)));
        }
    }
    Ok(found)
}
