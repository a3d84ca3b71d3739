//! The state of an order: each change is written down to be told, in the
//! transaction that makes it.

use jiff::Timestamp;
use orderwire_store::orders::Order;
use orderwire_types::step::{Step, TraceRecord};
use orderwire_types::{EventId, OrderState};
use rusqlite::{Connection, params};

use super::due;
use super::rows::{bytes, micros};
use crate::store::error::Failure;
use crate::store::traces;

/// Gives an order another state.
pub(super) fn change(
    db: &Connection,
    order: EventId,
    state: OrderState,
    reason: Option<&str>,
    at: Timestamp,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE release_order SET state = ?2, reason = ?3, open = ?4, updated_at = ?5, \
         changes = changes + 1 WHERE id = ?1",
    )?
    .execute(params![bytes(&order.0), state.as_str(), reason, !state.is_final(), micros(at)])?;
    if state.is_final() {
        due::order_ended(db, order)?;
    }
    tell(db, order)
}

/// Writes down the state of an order as it is now.
pub(super) fn tell(db: &Connection, order: EventId) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO order_change (order_id, n, state, reason, revision, cancel, removed, at) \
         SELECT id, changes, state, reason, revision, cancel, removed, updated_at FROM release_order \
         WHERE id = ?1",
    )?
    .execute([bytes(&order.0)])?;
    Ok(())
}

/// Ends an order for a reason that only the store knows; its trace says so.
pub(super) fn end(
    db: &Connection,
    order: &Order,
    state: OrderState,
    reason: &str,
    at: Timestamp,
) -> Result<(), Failure> {
    change(db, order.id, state, Some(reason), at)?;
    add_steps(db, order, vec![ended(order, state, reason, at)], at)
}

/// The step of a trace that says how an order ended.
pub(super) fn ended(order: &Order, state: OrderState, reason: &str, at: Timestamp) -> Step {
    Step {
        outcome: state.as_str().to_owned(),
        event_id: Some(order.id.0),
        detail: Some(reason.to_owned()),
        ..Step::ok(at, "provisioner", state.as_str())
    }
}

/// Adds steps to the trace of an order.
pub(super) fn add_steps(
    db: &Connection,
    order: &Order,
    steps: Vec<Step>,
    at: Timestamp,
) -> Result<(), Failure> {
    if steps.is_empty() {
        return Ok(());
    }
    let record = TraceRecord { trace: order.trace.id, client: order.client.clone(), steps };
    traces::add(db, &record, at)
}
