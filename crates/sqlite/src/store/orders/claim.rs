//! Which release is worked on next: fair over clients.

use jiff::Timestamp;
use orderwire_store::orders::{Claimed, Lease};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::due::refresh;
use super::rows::{bytes, entry, micros, number, stored_order, stored_release};
use crate::store::error::{Failure, damaged_value};
use crate::store::table::uuid;

/// The most entries of a journal that a claim hands out: the newest ones.
const JOURNAL: i64 = 1_000;

pub(super) fn claim(
    db: &Connection,
    targets: &[String],
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Claimed>, Failure> {
    for target in targets {
        db.prepare_cached("UPDATE release_turn SET ready = 1 WHERE target = ?1 AND ready = 0 AND at <= ?2")?
            .execute(params![target, micros(now)])?;
    }
    while let Some(client) = next_client(db, targets)? {
        if let Some((target, release)) = longest_due(db, targets, &client, now)? {
            return Ok(Some(hand_out(db, &target, &client, release, until)?));
        }
        // An earlier claim looked at a clock that was ahead of this one.
        for target in targets {
            refresh(db, target, &client)?;
        }
    }
    Ok(None)
}

/// Of the clients of whom something is due, the one that was served longest ago.
fn next_client(db: &Connection, targets: &[String]) -> rusqlite::Result<Option<String>> {
    let mut next: Option<(i64, String)> = None;
    for target in targets {
        let first = db
            .prepare_cached(
                "SELECT turn, client FROM release_turn WHERE target = ?1 AND ready = 1 \
                 ORDER BY turn, client LIMIT 1",
            )?
            .query_row([target], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        next = next.into_iter().chain(first).min();
    }
    Ok(next.map(|(_, client)| client))
}

/// Of this client's releases, the one that is due longest, with its target.
fn longest_due(
    db: &Connection,
    targets: &[String],
    client: &str,
    now: Timestamp,
) -> rusqlite::Result<Option<(String, Uuid)>> {
    let mut longest: Option<(i64, Uuid, &String)> = None;
    for target in targets {
        let first = db
            .prepare_cached(
                "SELECT at, release FROM release_work WHERE target = ?1 AND client = ?2 AND at <= ?3 \
                 ORDER BY at, release LIMIT 1",
            )?
            .query_row(params![target, client, micros(now)], |row| Ok((row.get(0)?, uuid(row, 1)?, target)))
            .optional()?;
        longest = longest.into_iter().chain(first).min();
    }
    Ok(longest.map(|(_, release, target)| (target.clone(), release)))
}

fn hand_out(
    db: &Connection,
    target: &str,
    client: &str,
    id: Uuid,
    until: Timestamp,
) -> Result<Claimed, Failure> {
    let turn: i64 = db
        .prepare_cached("UPDATE provisioner SET claims = claims + 1 RETURNING claims")?
        .query_row([], |row| row.get(0))?;
    db.prepare_cached("UPDATE release_turn SET turn = ?2 WHERE client = ?1")?
        .execute(params![client, turn])?;
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
