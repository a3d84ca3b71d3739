//! What changes with the work on a release.

use orderwire_store::orders::{Advance, Lease, Order, Release, ReleaseStatus, ResourceName, Revision};
use orderwire_types::{EventId, OrderState, ReleaseState};
use rusqlite::{Connection, params};

use super::rows::{bytes, integer, micros, stored_order, stored_release, texts};
use super::state::{add_steps, change};
use super::{changed, due};
use crate::store::error::{Failure, damaged_value, invalid, not_found};
use crate::store::writer::Transaction;

pub(super) fn advance(
    transaction: &mut Transaction<'_>,
    lease: Lease,
    id: EventId,
    advance: &Advance,
) -> Result<Order, Failure> {
    let db = transaction.connection;
    let held = due::held(db, lease)?;
    let release = stored_release(db, lease.release)?.ok_or_else(|| damaged_value(0, "release"))?;
    let order = stored_order(db, id)?.filter(|order| order.release == Some(release.id));
    let order =
        order.ok_or_else(|| not_found(format!("release {} has no order {id} to advance", release.id)))?;
    if let Some(revision) = &advance.new_revision {
        add_revision(db, &release, revision, &advance.resources)?;
    }
    if let Some(number) = advance.became_ready {
        db.prepare_cached(
            "UPDATE revision SET ready_at = coalesce(ready_at, ?3) WHERE release = ?1 AND number = ?2",
        )?
        .execute(params![bytes(&release.id), integer(number), micros(advance.at)])?;
    }
    advance_order(db, &order, advance)?;
    let newest = stored_order(db, release.order)?.ok_or_else(|| damaged_value(9, "order"))?;
    // What was removed stays as it was then.
    if let Some(status) = advance.status.as_ref().filter(|_| !held.removed) {
        let removed = status.state == ReleaseState::Removed;
        // An order that came while the release was being removed still needs it.
        if removed && newest.state.is_final() {
            set_status(db, &release, status, advance, true)?;
            db.prepare_cached("UPDATE release_order SET newest = 0 WHERE id = ?1")?
                .execute([bytes(&release.order.0)])?;
            due::end(db, release.id, &held)?;
        } else if removed {
            let status = ReleaseStatus { state: ReleaseState::Changing, ..status.clone() };
            set_status(db, &release, &status, advance, false)?;
        } else {
            set_status(db, &release, status, advance, false)?;
        }
    }
    add_steps(db, &order, advance.steps.clone(), advance.at)?;
    changed(transaction);
    Ok(newest)
}

fn add_revision(
    db: &Connection,
    release: &Release,
    revision: &Revision,
    resources: &[ResourceName],
) -> Result<(), Failure> {
    if revision.number != release.revisions + 1 {
        return Err(invalid(format!(
            "release {} has {} revisions: the next one cannot have number {}",
            release.id, release.revisions, revision.number
        ))
        .into());
    }
    db.prepare_cached(
        "INSERT INTO revision (release, number, hash, content, order_id, trace, trace_given, created_at, \
         ready_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        bytes(&release.id),
        integer(revision.number),
        revision.hash,
        revision.content.get(),
        bytes(&revision.order.0),
        bytes(&revision.trace.id),
        revision.trace.given,
        micros(revision.created_at),
        revision.ready_at.map(micros),
    ])?;
    let mut add = db.prepare_cached(
        "INSERT OR IGNORE INTO revision_resource (release, number, kind, name) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for ResourceName { kind, name } in resources.iter().filter(|resource| resource.is_findable()) {
        add.execute(params![bytes(&release.id), integer(revision.number), kind, name])?;
    }
    db.prepare_cached("UPDATE release SET revisions = ?2, stored = stored + 1 WHERE id = ?1")?
        .execute(params![bytes(&release.id), integer(revision.number)])?;
    Ok(())
}

/// Writes what an advance says of its order. What is told of a state holds all
/// of it, hence the state is written last.
fn advance_order(db: &Connection, order: &Order, advance: &Advance) -> rusqlite::Result<()> {
    let id = bytes(&order.id.0);
    db.prepare_cached("UPDATE release_order SET claimed = 1 WHERE id = ?1 AND claimed = 0")?.execute([id])?;
    if let Some(revision) = advance.revision {
        db.prepare_cached("UPDATE release_order SET revision = ?2 WHERE id = ?1")?
            .execute(params![id, integer(revision)])?;
    }
    if !advance.removed.is_empty() {
        db.prepare_cached("UPDATE release_order SET removed = ?2 WHERE id = ?1")?
            .execute(params![id, texts(&advance.removed)])?;
    }
    let mut add = db.prepare_cached(
        "INSERT INTO order_journal (order_id, n, at, step, outcome, detail) VALUES (?1, \
         (SELECT coalesce(max(n), 0) + 1 FROM order_journal WHERE order_id = ?1), ?2, ?3, ?4, ?5)",
    )?;
    for (step, outcome, detail) in &advance.journal {
        add.execute(params![id, micros(advance.at), step, outcome, detail])?;
    }
    let Some((state, reason)) = &advance.state else { return Ok(()) };
    write_state(db, order, *state, reason.as_deref(), advance)
}

fn write_state(
    db: &Connection,
    order: &Order,
    state: OrderState,
    reason: Option<&str>,
    advance: &Advance,
) -> rusqlite::Result<()> {
    if order.state.is_final() {
        return Ok(());
    }
    if order.state != state {
        return change(db, order.id, state, reason, advance.at);
    }
    db.prepare_cached("UPDATE release_order SET reason = ?2 WHERE id = ?1")?
        .execute(params![bytes(&order.id.0), reason])?;
    Ok(())
}

fn set_status(
    db: &Connection,
    release: &Release,
    status: &ReleaseStatus,
    advance: &Advance,
    removed: bool,
) -> rusqlite::Result<()> {
    let at = if *status == release.status { release.updated_at } else { advance.at };
    db.prepare_cached(
        "UPDATE release SET state = ?2, reason = ?3, ready = ?4, applied = ?5, keys_made = ?6, \
         keys_revoked = ?7, resources = ?8, updated_at = ?9, \
         removed_at = iif(?10, coalesce(removed_at, ?9), removed_at), handed_over = ?11 WHERE id = ?1",
    )?
    .execute(params![
        bytes(&release.id),
        status.state.as_str(),
        status.reason,
        status.ready.map(integer),
        status.applied.map(integer),
        integer(status.keys_made),
        integer(status.keys_revoked),
        status.resources.get(),
        micros(at),
        removed,
        status.handed_over,
    ])?;
    Ok(())
}
