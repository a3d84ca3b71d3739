//! When releases are to be worked on, and by whom.
//!
//! Whatever changes the moment at which a release may be claimed, or whether it
//! has an unfinished order, also writes the earliest such moment of its client
//! ([`refresh`]), apart for releases with an unfinished order and for the others;
//! a claim then needs nothing but the turns.

use std::collections::BTreeSet;

use jiff::Timestamp;
use orderwire_store::Error;
use orderwire_store::orders::{Lease, Order};
use orderwire_types::EventId;
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::rows::{bytes, integer, micros};
use crate::store::error::{Failure, conflict};

/// Makes a new release due, for its first order.
pub(super) fn begin(db: &Connection, release: Uuid, order: &Order) -> rusqlite::Result<()> {
    let client = order.client.as_str();
    db.prepare_cached(
        "INSERT INTO release_work (release, target, client, at, lease, until, woken, ordered) \
         VALUES (?1, ?2, ?3, ?4, 0, NULL, NULL, 1)",
    )?
    .execute(params![bytes(&release), order.target, client, micros(order.created_at)])?;
    db.prepare_cached(
        "INSERT INTO release_turn (target, client, ordered, turn, at, ready) \
         VALUES (?1, ?2, 0, 0, NULL, 0), (?1, ?2, 1, 0, NULL, 0) \
         ON CONFLICT (target, client, ordered) DO NOTHING",
    )?
    .execute(params![order.target, client])?;
    refresh(db, &order.target, client)
}

/// Makes a release due at `at` at the latest; one that is held, when it is handed
/// back. Whether it is there.
pub(super) fn wake(db: &Connection, release: Uuid, at: i64) -> rusqlite::Result<bool> {
    let woken: Option<(String, String)> = db
        .prepare_cached(
            "UPDATE release_work SET \
             at = iif(until IS NULL, min(coalesce(at, ?2), ?2), at), \
             woken = iif(until IS NULL, NULL, min(coalesce(woken, ?2), ?2)) \
             WHERE release = ?1 AND EXISTS (SELECT 1 FROM release r WHERE r.id = ?1 AND r.removed_at IS NULL) \
             RETURNING target, client",
        )?
        .query_row(params![bytes(&release), at], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((target, client)) = &woken {
        refresh(db, target, client)?;
    }
    Ok(woken.is_some())
}

/// A release has an unfinished order, accepted at `at`: it is due at once.
pub(super) fn order_began(db: &Connection, release: Uuid, at: i64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE release_work SET ordered = 1 WHERE release = ?1")?
        .execute([bytes(&release)])?;
    wake(db, release, at).map(drop)
}

/// An order ended: until another one comes, nobody waits for its release.
pub(super) fn order_ended(db: &Connection, order: EventId) -> rusqlite::Result<()> {
    let ended: Option<(String, String)> = db
        .prepare_cached(
            "UPDATE release_work SET ordered = 0 \
             WHERE release = (SELECT o.release FROM release_order o WHERE o.id = ?1) \
             RETURNING target, client",
        )?
        .query_row([bytes(&order.0)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match ended {
        Some((target, client)) => refresh(db, &target, &client),
        None => Ok(()),
    }
}

/// Writes the earliest moments at which one of a client's releases may be claimed.
pub(super) fn refresh(db: &Connection, target: &str, client: &str) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE release_turn SET ready = 0, at = (SELECT w.at FROM release_work w \
         WHERE w.target = ?1 AND w.client = ?2 AND w.ordered = release_turn.ordered \
         AND w.at IS NOT NULL ORDER BY w.at LIMIT 1) WHERE target = ?1 AND client = ?2",
    )?
    .execute([target, client])?;
    Ok(())
}

/// What is known of a release that is held.
pub(super) struct Held {
    target: String,
    client: String,
    woken: Option<i64>,
    /// Whether the release was removed meanwhile.
    pub(super) removed: bool,
}

/// Checks that this lease still holds its release.
pub(super) fn held(db: &Connection, lease: Lease) -> Result<Held, Failure> {
    let held = db
        .prepare_cached(
            "SELECT w.target, w.client, w.woken, r.removed_at IS NOT NULL FROM release_work w \
             CROSS JOIN release r ON r.id = w.release \
             WHERE w.release = ?1 AND w.lease = ?2 AND w.until IS NOT NULL",
        )?
        .query_row(params![bytes(&lease.release), integer(lease.number)], |row| {
            Ok(Held { target: row.get(0)?, client: row.get(1)?, woken: row.get(2)?, removed: row.get(3)? })
        })
        .optional()?;
    Ok(held.ok_or_else(|| lost(lease))?)
}

/// Whether somebody holds a release; also by a lease that ended and was not handed back.
pub(super) fn is_held(db: &Connection, release: Uuid) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM release_work WHERE release = ?1 AND until IS NOT NULL")?
        .exists([bytes(&release)])
}

fn lost(lease: Lease) -> Error {
    conflict(format!(
        "lease {} of release {} is over: another one may hold it now, nothing was done",
        lease.number, lease.release
    ))
}

pub(super) fn extend(db: &Connection, lease: Lease, until: Timestamp) -> Result<(), Failure> {
    let held = held(db, lease)?;
    let at = (!held.removed).then(|| micros(until));
    db.prepare_cached("UPDATE release_work SET until = ?2, at = ?3 WHERE release = ?1")?.execute(params![
        bytes(&lease.release),
        micros(until),
        at
    ])?;
    Ok(refresh(db, &held.target, &held.client)?)
}

pub(super) fn hand_back(db: &Connection, lease: Lease, due: Option<Timestamp>) -> Result<(), Failure> {
    let held = held(db, lease)?;
    let due = due.map(micros).into_iter().chain(held.woken).min();
    let at = due.filter(|_| !held.removed);
    db.prepare_cached("UPDATE release_work SET until = NULL, woken = NULL, at = ?2 WHERE release = ?1")?
        .execute(params![bytes(&lease.release), at])?;
    Ok(refresh(db, &held.target, &held.client)?)
}

/// A release that was removed is never due again; its holder may still hand it back.
pub(super) fn end(db: &Connection, release: Uuid, held: &Held) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE release_work SET at = NULL, woken = NULL WHERE release = ?1")?
        .execute([bytes(&release)])?;
    refresh(db, &held.target, &held.client)
}

pub(super) fn take_over(db: &Connection, targets: &[String], at: Timestamp) -> rusqlite::Result<u64> {
    let mut due = 0;
    for target in targets {
        let clients: Vec<String> = db
            .prepare_cached(
                "UPDATE release_work SET at = iif(until IS NULL, min(coalesce(at, ?2), ?2), ?2), \
                 until = NULL, woken = NULL WHERE target = ?1 AND (until IS NOT NULL OR ordered = 1) \
                 AND EXISTS (SELECT 1 FROM release r \
                 WHERE r.id = release_work.release AND r.removed_at IS NULL) RETURNING client",
            )?
            .query_map(params![target, micros(at)], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        due += clients.len() as u64;
        // Those of removed releases, which are not due for that.
        db.prepare_cached("UPDATE release_work SET until = NULL WHERE target = ?1 AND until IS NOT NULL")?
            .execute([target])?;
        for client in BTreeSet::from_iter(clients) {
            refresh(db, target, &client)?;
        }
    }
    Ok(due)
}

pub(super) fn next_due(db: &Connection, target: &str) -> rusqlite::Result<Option<Timestamp>> {
    let mut next: Option<i64> = None;
    for sql in [
        "SELECT at FROM release_turn WHERE target = ?1 AND ready = 1 ORDER BY ordered, turn, client LIMIT 1",
        "SELECT at FROM release_turn WHERE target = ?1 AND ready = 0 AND at IS NOT NULL ORDER BY at LIMIT 1",
    ] {
        let at: Option<i64> = db.prepare_cached(sql)?.query_row([target], |row| row.get(0)).optional()?;
        next = next.into_iter().chain(at).min();
    }
    next.map(|at| {
        Timestamp::from_microsecond(at).map_err(|_| crate::store::error::damaged_value(0, "moment"))
    })
    .transpose()
}
