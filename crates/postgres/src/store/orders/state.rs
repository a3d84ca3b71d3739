//! The state of an order: each change is written down to be told, in the
//! transaction that makes it.

use jiff::Timestamp;
use orderwire_store::orders::Order;
use orderwire_types::step::{Step, TraceRecord};
use orderwire_types::{EventId, OrderState};

use super::due;
use crate::store::error::Failure;
use crate::store::session::Session;
use crate::store::traces;
use crate::store::value::{Moment, escaped};

/// Gives an order another state.
pub(super) async fn change(
    session: &Session,
    order: EventId,
    state: OrderState,
    reason: Option<&str>,
    at: Timestamp,
) -> Result<(), Failure> {
    let sql = "UPDATE store.release_order SET state = $2, reason = $3, open = $4, updated_at = $5, \
               changes = changes + 1 WHERE id = $1";
    let (word, reason, open) = (state.as_str(), reason.map(escaped), !state.is_final());
    session.execute(sql, &[&order.0, &word, &reason, &open, &Moment(at)]).await?;
    if state.is_final() {
        due::order_ended(session, order).await?;
    }
    tell(session, order).await
}

/// Writes down the state of an order as it is now.
pub(super) async fn tell(session: &Session, order: EventId) -> Result<(), Failure> {
    let sql = "INSERT INTO store.order_change (order_id, n, state, reason, revision, cancel, removed, at) \
               SELECT id, changes, state, reason, revision, cancel, removed, updated_at \
               FROM store.release_order WHERE id = $1";
    session.execute(sql, &[&order.0]).await?;
    Ok(())
}

/// Ends an order for a reason that only the store knows; its trace says so.
pub(super) async fn end(
    session: &Session,
    order: &Order,
    state: OrderState,
    reason: &str,
    at: Timestamp,
) -> Result<(), Failure> {
    change(session, order.id, state, Some(reason), at).await?;
    add_steps(session, order, vec![ended(order, state, reason, at)], at).await
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
pub(super) async fn add_steps(
    session: &Session,
    order: &Order,
    steps: Vec<Step>,
    at: Timestamp,
) -> Result<(), Failure> {
    if steps.is_empty() {
        return Ok(());
    }
    let record = TraceRecord { trace: order.trace.id, client: order.client.clone(), steps };
    traces::add(session, std::iter::once((&record, at))).await
}
