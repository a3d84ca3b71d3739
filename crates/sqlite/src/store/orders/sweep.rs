//! Dropping what is past its retention, a bounded piece at a time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::rows::{bytes, integer, limit, micros};
use crate::store::error::Failure;
use crate::store::table::uuid;

pub(super) fn sweep(
    db: &Connection,
    before: Timestamp,
    keep: u64,
    untold_for: Duration,
    max: usize,
) -> Result<u64, Failure> {
    let max = limit(max);
    changes(db, untold_for, max)?;
    let swept = orders(db, before, max)? + releases(db, before, max)? + revisions(db, integer(keep), max)?;
    Ok(swept as u64)
}

/// Forgets changes that nobody asked for; they do not count as swept.
fn changes(db: &Connection, untold_for: Duration, max: i64) -> rusqlite::Result<()> {
    let Ok(before) =
        Timestamp::now().checked_sub(SignedDuration::try_from(untold_for).unwrap_or(SignedDuration::MAX))
    else {
        return Ok(());
    };
    // They are in order of time but for the clocks of callers.
    db.prepare_cached(
        "DELETE FROM order_change WHERE seq IN (SELECT seq FROM (SELECT seq, at FROM order_change \
         ORDER BY seq LIMIT ?2) WHERE at <= ?1)",
    )?
    .execute(params![micros(before), max])?;
    Ok(())
}

fn orders(db: &Connection, before: Timestamp, max: i64) -> rusqlite::Result<usize> {
    // A change that is to be told needs its order.
    let past = ids(
        db,
        "SELECT o.id FROM release_order o WHERE o.open = 0 AND o.newest = 0 AND o.updated_at < ?1 \
         AND NOT EXISTS (SELECT 1 FROM order_change c WHERE c.order_id = o.id) ORDER BY o.updated_at LIMIT ?2",
        before,
        max,
    )?;
    for id in &past {
        db.prepare_cached("DELETE FROM order_journal WHERE order_id = ?1")?.execute([bytes(id)])?;
        db.prepare_cached("DELETE FROM release_order WHERE id = ?1")?.execute([bytes(id)])?;
    }
    Ok(past.len())
}

fn releases(db: &Connection, before: Timestamp, max: i64) -> rusqlite::Result<usize> {
    // After its orders, so that these never name a release that is not there.
    let past = ids(
        db,
        "SELECT r.id FROM release r WHERE r.removed_at < ?1 \
         AND NOT EXISTS (SELECT 1 FROM release_order o WHERE o.release = r.id) ORDER BY r.removed_at LIMIT ?2",
        before,
        max,
    )?;
    for id in &past {
        db.prepare_cached("DELETE FROM revision_resource WHERE release = ?1")?.execute([bytes(id)])?;
        db.prepare_cached("DELETE FROM revision WHERE release = ?1")?.execute([bytes(id)])?;
        let (target, client): (String, String) = db
            .prepare_cached("DELETE FROM release WHERE id = ?1 RETURNING target, client")?
            .query_row([bytes(id)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        db.prepare_cached("DELETE FROM release_work WHERE release = ?1")?.execute([bytes(id)])?;
        // The turn of a client that has no release left.
        db.prepare_cached(
            "DELETE FROM release_turn WHERE target = ?1 AND client = ?2 \
             AND NOT EXISTS (SELECT 1 FROM release WHERE client = ?2)",
        )?
        .execute([target, client])?;
    }
    Ok(past.len())
}

fn ids(db: &Connection, sql: &str, before: Timestamp, max: i64) -> rusqlite::Result<Vec<Uuid>> {
    db.prepare_cached(sql)?.query_map(params![micros(before), max], |row| uuid(row, 0))?.collect()
}

/// Drops revisions beyond the newest `keep` of each release that nothing needs.
fn revisions(db: &Connection, keep: i64, max: i64) -> rusqlite::Result<usize> {
    let past: Vec<(Uuid, i64)> = db
        .prepare_cached(
            "SELECT v.release, v.number FROM release r CROSS JOIN revision v ON v.release = r.id \
             WHERE r.stored > ?1 AND v.number <= r.revisions - ?1 \
             AND v.number IS NOT r.ready AND v.number IS NOT r.applied \
             AND NOT EXISTS (SELECT 1 FROM release_order o WHERE o.release = r.id AND o.open = 1 \
             AND (o.id = v.order_id OR o.revision = v.number OR o.to_revision = v.number)) LIMIT ?2",
        )?
        .query_map(params![keep, max], |row| Ok((uuid(row, 0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (release, number) in &past {
        db.prepare_cached("DELETE FROM revision_resource WHERE release = ?1 AND number = ?2")?
            .execute(params![bytes(release), number])?;
        db.prepare_cached("DELETE FROM revision WHERE release = ?1 AND number = ?2")?
            .execute(params![bytes(release), number])?;
        db.prepare_cached("UPDATE release SET stored = stored - 1 WHERE id = ?1")?
            .execute([bytes(release)])?;
    }
    Ok(past.len())
}
