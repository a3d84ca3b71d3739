//! Which releases are worked on next: those that somebody waits for, but for one of the
//! others now and then, fair over clients.

use jiff::Timestamp;
use orderwire_store::orders::{Claimed, Lease, PATROL};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::due::refresh;
use super::rows::{bytes, entry, integer, micros, number, stored_order, stored_release};
use crate::store::error::{Failure, damaged_value};
use crate::store::table::uuid;

/// The most entries of a journal that a claim hands out: the newest ones.
const JOURNAL: i64 = 1_000;

pub(super) fn claim(
    db: &Connection,
    target: &str,
    max: usize,
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<Claimed>, Failure> {
    let mut claimed = Vec::new();
    while claimed.len() < max
        && let Some((client, release)) = next(db, target, now)?
    {
        claimed.push(hand_out(db, target, &client, release, until)?);
    }
    Ok(claimed)
}

/// The release that is to be claimed next, and its client.
fn next(db: &Connection, target: &str, now: Timestamp) -> Result<Option<(String, Uuid)>, Failure> {
    db.prepare_cached("UPDATE release_turn SET ready = 1 WHERE target = ?1 AND ready = 0 AND at <= ?2")?
        .execute(params![target, micros(now)])?;
    let claims: Option<u64> = db
        .prepare_cached("SELECT claims FROM target_claims WHERE target = ?1")?
        .query_row([target], |row| number(row, 0))
        .optional()?;
    let others_first = (claims.unwrap_or(0) + 1).is_multiple_of(PATROL);
    for ordered in [!others_first, others_first] {
        while let Some(client) = next_client(db, target, ordered)? {
            if let Some(release) = longest_due(db, target, ordered, &client, now)? {
                return Ok(Some((client, release)));
            }
            // An earlier claim looked at a clock that was ahead of this one.
            refresh(db, target, &client)?;
        }
    }
    Ok(None)
}

/// Of the clients of whom something is due, the one that was served longest ago.
fn next_client(db: &Connection, target: &str, ordered: bool) -> rusqlite::Result<Option<String>> {
    db.prepare_cached(
        "SELECT client FROM release_turn WHERE target = ?1 AND ordered = ?2 AND ready = 1 \
         ORDER BY turn, client LIMIT 1",
    )?
    .query_row(params![target, ordered], |row| row.get(0))
    .optional()
}

/// Of this client's releases, the one that is due longest.
fn longest_due(
    db: &Connection,
    target: &str,
    ordered: bool,
    client: &str,
    now: Timestamp,
) -> rusqlite::Result<Option<Uuid>> {
    db.prepare_cached(
        "SELECT release FROM release_work \
         WHERE target = ?1 AND client = ?2 AND ordered = ?3 AND at <= ?4 ORDER BY at, release LIMIT 1",
    )?
    .query_row(params![target, client, ordered, micros(now)], |row| uuid(row, 0))
    .optional()
}

fn hand_out(
    db: &Connection,
    target: &str,
    client: &str,
    id: Uuid,
    until: Timestamp,
) -> Result<Claimed, Failure> {
    let turn: u64 = db
        .prepare_cached(
            "INSERT INTO target_claims VALUES (?1, 1) \
             ON CONFLICT (target) DO UPDATE SET claims = claims + 1 RETURNING claims",
        )?
        .query_row([target], |row| number(row, 0))?;
    db.prepare_cached("UPDATE release_turn SET turn = ?3 WHERE target = ?1 AND client = ?2")?
        .execute(params![target, client, integer(turn)])?;
    let number: u64 = db
        .prepare_cached(
            "UPDATE release_work SET lease = lease + 1, until = ?2, at = ?2, woken = NULL \
             WHERE release = ?1 RETURNING lease",
        )?
        .query_row(params![bytes(&id), micros(until)], |row| number(row, 0))?;
    refresh(db, target, client)?;
    let release = stored_release(db, id)?.ok_or_else(|| damaged_value(0, "release"))?;
    let newest = stored_order(db, release.order)?.ok_or_else(|| damaged_value(9, "order"))?;
    let order = Some(newest).filter(|order| !order.state.is_final());
    let mut journal = Vec::new();
    if let Some(order) = &order {
        let order = bytes(&order.id.0);
        db.prepare_cached("UPDATE release_order SET claimed = 1 WHERE id = ?1")?.execute([order])?;
        journal = db
            .prepare_cached(
                "SELECT n, at, step, outcome, detail FROM order_journal WHERE order_id = ?1 \
                 ORDER BY n DESC LIMIT ?2",
            )?
            .query_map(params![order, JOURNAL], entry)?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        journal.reverse();
    }
    Ok(Claimed { lease: Lease { release: id, number }, release, order, journal })
}
