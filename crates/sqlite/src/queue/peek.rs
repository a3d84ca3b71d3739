//! A look at what waits, without a lease.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use orderwire_queue::engine::LOOK;
use orderwire_queue::model::{Entry, Position};
use orderwire_types::QueueName;
use orderwire_types::queue::Kind;
use orderwire_types::scope::Clients;
use rusqlite::{Connection, params};

use super::lane::{Lane, first_delivery, segment_after};
use super::read::find;

/// The first unsettled deliveries of these clients; `None` when there is no
/// such queue.
pub(super) fn peek(
    db: &Connection,
    name: &QueueName,
    clients: &Clients,
    max: usize,
    max_bytes: usize,
) -> rusqlite::Result<Option<Vec<(u32, Entry)>>> {
    let Some((id, kind, _)) = find(db, name)? else { return Ok(None) };
    let found = match (kind, clients) {
        (Kind::Task, Clients::Only(clients)) => {
            let clients: Vec<&str> = clients.iter().map(orderwire_types::Client::as_str).collect();
            by_lane(db, id, &clients, max)?
        }
        (Kind::Task, Clients::All) => by_segment(db, id, max)?,
        (Kind::Stream, _) => of_stream(db, id, clients, max)?,
    };
    let mut entries = Vec::new();
    let mut bytes = 0;
    for (lane, position, ended) in found {
        if bytes >= max_bytes && !entries.is_empty() {
            break;
        }
        let body: Vec<u8> = db
            .prepare_cached("SELECT body FROM event WHERE position = ?1")?
            .query_row([position], |row| row.get(0))?;
        let held = Lane::load(db, id, lane)?.is_some_and(|lane| lane.holds(position));
        bytes += body.len();
        entries.push((ended + u32::from(held), Entry { position: Position(position), body: body.into() }));
    }
    Ok(Some(entries))
}

/// (lane, position, ended attempts)
type Found = (i64, i64, u32);

/// In order of position over all lanes: within a segment that is a sort of
/// small rows.
fn by_segment(db: &Connection, queue: i64, max: usize) -> rusqlite::Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut in_segment = db.prepare_cached(
        "SELECT lane, position, attempt FROM delivery WHERE queue = ?1 AND segment = ?2
         ORDER BY position LIMIT ?3",
    )?;
    let mut next = segment_after(db, queue, i64::MIN)?;
    while let Some(here) = next.filter(|_| found.len() < max) {
        let room = i64::try_from(max - found.len()).unwrap_or(i64::MAX);
        let rows =
            in_segment.query_map([queue, here, room], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        for row in rows {
            found.push(row?);
        }
        next = segment_after(db, queue, here)?;
    }
    Ok(found)
}

/// Of a stream: its one lane, of which some clients' entries may be far away.
fn of_stream(db: &Connection, queue: i64, clients: &Clients, max: usize) -> rusqlite::Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut looked = 0;
    let mut in_segment = db.prepare_cached(
        "SELECT d.position, d.attempt, e.client FROM delivery d CROSS JOIN event e ON e.position = d.position
         WHERE d.queue = ?1 AND d.segment = ?2 AND d.lane = 0 ORDER BY d.position",
    )?;
    let mut next = segment_after(db, queue, i64::MIN)?;
    while let Some(here) = next {
        let mut rows = in_segment.query([queue, here])?;
        while let Some(row) = rows.next()? {
            if found.len() >= max || looked >= LOOK {
                return Ok(found);
            }
            looked += 1;
            let client = row.get_ref(2)?.as_str()?;
            let covered = match clients {
                Clients::All => true,
                Clients::Only(clients) => clients.iter().any(|other| other.as_str() == client),
            };
            if covered {
                found.push((0, row.get(0)?, row.get(1)?));
            }
        }
        next = segment_after(db, queue, here)?;
    }
    Ok(found)
}

/// The lanes of the clients, merged by position.
fn by_lane(db: &Connection, queue: i64, clients: &[&str], max: usize) -> rusqlite::Result<Vec<Found>> {
    let mut lanes = BinaryHeap::new();
    let mut list = db
        .prepare_cached("SELECT head, lane FROM lane INDEXED BY lane_key WHERE queue = ?1 AND client = ?2")?;
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
