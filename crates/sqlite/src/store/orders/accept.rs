//! Orders on their way in, and their cancellation.

use jiff::Timestamp;
use orderwire_store::orders::{Acceptance, NewOrder, Order, Refusal, Release};
use orderwire_types::{Action, EventId, OrderState, ReleaseState, Scope};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::changed;
use super::due;
use super::rows::{
    self, RELEASE, bytes, insert_order, insert_release, integer, micros, stored_order, stored_release,
};
use super::state::{add_steps, end, ended, tell};
use crate::store::error::{Failure, conflict, damaged_value, invalid, not_found};
use crate::store::writer::Transaction;

pub(super) fn accept(transaction: &mut Transaction<'_>, new: &NewOrder) -> Result<Acceptance, Failure> {
    let db = transaction.connection;
    if let Some(known) = stored_order(db, new.order.id)? {
        let same = known.fingerprint == new.order.fingerprint;
        return Ok(if same { Acceptance::Known(known) } else { Acceptance::Refused(Refusal::OtherContent) });
    }
    let mut order = Order { release: None, ..new.order.clone() };
    let mut steps = new.steps.clone();
    match order.state {
        OrderState::Failed => record(db, &order, false)?,
        OrderState::Accepted => {
            let there = live(db, &order)?;
            let is_asked =
                new.order.release.is_none_or(|id| there.as_ref().is_some_and(|there| there.id == id));
            let refusal = match is_asked {
                true => refusal(db, &order, there.as_ref())?,
                false => Some(Refusal::Missing(order.name.clone())),
            };
            match refusal {
                None => place(db, &mut order, there, new.record_refused, &mut steps)?,
                Some(refusal) if new.record_refused => {
                    let reason = refusal.to_string();
                    steps.push(ended(&order, OrderState::Failed, &reason, order.created_at));
                    order.state = OrderState::Failed;
                    order.reason = Some(reason);
                    record(db, &order, false)?;
                }
                Some(refusal) => return Ok(Acceptance::Refused(refusal)),
            }
        }
        state => return Err(invalid(format!("accepting order {}: its state is {state}", order.id)).into()),
    }
    add_steps(db, &order, steps, order.created_at)?;
    changed(transaction);
    let order = stored_order(db, order.id)?.ok_or_else(|| damaged_value(0, "order"))?;
    Ok(Acceptance::New(order))
}

/// The release that is there by the order's name.
fn live(db: &Connection, order: &Order) -> rusqlite::Result<Option<Release>> {
    db.prepare_cached(&format!(
        "SELECT {RELEASE} FROM release r \
         WHERE r.client = ?1 AND r.environment = ?2 AND r.name = ?3 AND r.removed_at IS NULL"
    ))?
    .query_row(params![order.client.as_str(), order.environment, order.name], rows::release)
    .optional()
}

/// Why the order cannot be, in the order of the refusals.
fn refusal(db: &Connection, order: &Order, there: Option<&Release>) -> rusqlite::Result<Option<Refusal>> {
    let name = || order.name.clone();
    let Some(release) = there else {
        return match order.action {
            Action::Apply | Action::Create => taken(db, order),
            Action::Update | Action::Rollback | Action::Remove => Ok(Some(Refusal::Missing(name()))),
        };
    };
    if order.action == Action::Create && !is_vacant(db, release)? {
        return Ok(Some(Refusal::Exists(name())));
    }
    if order.product != release.product {
        return Ok(Some(Refusal::OtherProduct { name: name(), product: release.product.clone() }));
    }
    if order.namespace != release.namespace {
        return Ok(Some(Refusal::OtherNamespace { name: name(), namespace: release.namespace.clone() }));
    }
    if let (Action::Rollback, Some(revision)) = (order.action, order.to_revision) {
        let found = db
            .prepare_cached("SELECT 1 FROM revision WHERE release = ?1 AND number = ?2")?
            .exists(params![bytes(&release.id), integer(revision)])?;
        if !found {
            return Ok(Some(Refusal::NoRevision { name: name(), revision }));
        }
    }
    Ok(None)
}

/// Whether nothing of the release is there and nobody is at work on it: its first
/// order did not succeed.
fn is_vacant(db: &Connection, release: &Release) -> rusqlite::Result<bool> {
    if release.status.state != ReleaseState::Absent {
        return Ok(false);
    }
    let newest = stored_order(db, release.order)?;
    Ok(newest.is_some_and(|newest| newest.state.is_final()))
}

/// Whether the namespace of a new release belongs to others.
fn taken(db: &Connection, order: &Order) -> rusqlite::Result<Option<Refusal>> {
    let namespace = || order.namespace.clone();
    // All releases of a namespace are of one owner.
    let owner: Option<(String, String)> = db
        .prepare_cached(
            "SELECT client, environment FROM release \
             WHERE target = ?1 AND namespace = ?2 AND removed_at IS NULL LIMIT 1",
        )?
        .query_row(params![order.target, order.namespace], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(match owner {
        Some((client, _)) if client != order.client.as_str() => Some(Refusal::TakenByClient(namespace())),
        Some((_, environment)) if environment != order.environment => {
            Some(Refusal::TakenByEnvironment { namespace: namespace(), environment })
        }
        _ => None,
    })
}

/// Gives the order its place among those of its release, which is made where it
/// is not there.
fn place(
    db: &Connection,
    order: &mut Order,
    there: Option<Release>,
    is_replay: bool,
    steps: &mut Vec<orderwire_types::step::Step>,
) -> Result<(), Failure> {
    let at = order.created_at;
    let Some(release) = there else {
        let id = Uuid::now_v7();
        order.release = Some(id);
        insert_release(db, id, order)?;
        record(db, order, true)?;
        return Ok(due::begin(db, id, order)?);
    };
    order.release = Some(release.id);
    // The release stays where it is, whatever the target of a new one would be.
    order.target.clone_from(&release.target);
    let newest = stored_order(db, release.order)?.ok_or_else(|| damaged_value(9, "order"))?;
    if !is_replay {
        // Somebody waits for it now: only a clock that was set back makes it older.
        order.ordered_at = order.ordered_at.max(newest.ordered_at);
    }
    if micros(order.ordered_at) < micros(newest.ordered_at) {
        let reason = format!("order {} is newer", newest.id);
        steps.push(ended(order, OrderState::Superseded, &reason, at));
        order.state = OrderState::Superseded;
        order.reason = Some(reason);
        return Ok(record(db, order, false)?);
    }
    if !newest.state.is_final() {
        end(db, &newest, OrderState::Superseded, &format!("order {} took its place", order.id), at)?;
    }
    db.prepare_cached("UPDATE release_order SET newest = 0 WHERE id = ?1")?.execute([bytes(&newest.id.0)])?;
    record(db, order, true)?;
    let describes = matches!(order.action, Action::Apply | Action::Create | Action::Update);
    db.prepare_cached(
        "UPDATE release SET order_id = ?2, trace = ?3, trace_given = ?4, updated_at = ?5, \
         archtype = iif(?6, coalesce(?7, archtype), archtype), \
         hardware = iif(?6, coalesce(?8, hardware), hardware) WHERE id = ?1",
    )?
    .execute(params![
        bytes(&release.id),
        bytes(&order.id.0),
        bytes(&order.trace.id),
        order.trace.given,
        micros(at),
        describes,
        order.archtype,
        order.hardware,
    ])?;
    Ok(due::order_began(db, release.id, micros(at))?)
}

fn record(db: &Connection, order: &Order, newest: bool) -> rusqlite::Result<()> {
    insert_order(db, order, newest)?;
    tell(db, order.id)
}

/// Whether the release is held, or left half done: then whoever holds its lease, or
/// claims it next, has to see what becomes of it.
fn is_in_work(db: &Connection, order: &Order) -> Result<bool, Failure> {
    let Some(id) = order.release else { return Ok(false) };
    let release = stored_release(db, id)?.ok_or_else(|| damaged_value(0, "release"))?;
    Ok(release.status.is_half_done() || due::is_held(db, id)?)
}

pub(super) fn cancel(
    transaction: &mut Transaction<'_>,
    scope: &Scope,
    id: EventId,
    at: Timestamp,
) -> Result<Order, Failure> {
    let db = transaction.connection;
    let order = stored_order(db, id)?.filter(|order| scope.covers(&order.client));
    let order = order.ok_or_else(|| not_found(format!("cancelling order {id}: there is none")))?;
    match order.state {
        OrderState::Cancelled => return Ok(order),
        OrderState::Removing => {
            let message = format!("order {id} is removing its release, which cannot be cancelled any more");
            return Err(conflict(message).into());
        }
        state if state.is_final() => {
            let message = format!("order {id} is {state} already: there is nothing to cancel");
            return Err(conflict(message).into());
        }
        _ if order.cancel => return Ok(order),
        _ => {}
    }
    db.prepare_cached("UPDATE release_order SET cancel = 1 WHERE id = ?1")?.execute([bytes(&id.0)])?;
    let claimed: bool = db
        .prepare_cached("SELECT claimed FROM release_order WHERE id = ?1")?
        .query_row([bytes(&id.0)], |row| row.get(0))?;
    if order.state == OrderState::Accepted && !claimed && !is_in_work(db, &order)? {
        end(db, &order, OrderState::Cancelled, "it was cancelled before work on it began", at)?;
    }
    if let Some(release) = order.release {
        due::wake(db, release, micros(at))?;
    }
    changed(transaction);
    Ok(stored_order(db, id)?.ok_or_else(|| damaged_value(0, "order"))?)
}
