//! Orders on their way in, and their cancellation.

use jiff::Timestamp;
use orderwire_store::orders::{Acceptance, NewOrder, Order, Refusal, Release};
use orderwire_types::step::Step;
use orderwire_types::{Action, EventId, OrderState, ReleaseState, Scope};
use uuid::Uuid;

use super::due;
use super::rows::{
    self, RELEASE, insert_order, insert_release, integer, known_order, known_release, stored_order,
};
use super::state::{add_steps, end, ended, tell};
use crate::store::error::{Failure, conflict, invalid, not_found};
use crate::store::session::Session;
use crate::store::value::Moment;

pub(super) async fn accept(session: &Session, new: &NewOrder) -> Result<Acceptance, Failure> {
    if let Some(known) = stored_order(session, new.order.id).await? {
        let same = known.fingerprint == new.order.fingerprint;
        return Ok(if same { Acceptance::Known(known) } else { Acceptance::Refused(Refusal::OtherContent) });
    }
    let mut order = Order { release: None, ..new.order.clone() };
    let mut steps = new.steps.clone();
    match order.state {
        OrderState::Failed => record(session, &order, false).await?,
        OrderState::Accepted => {
            let there = live(session, &order).await?;
            let is_asked =
                new.order.release.is_none_or(|id| there.as_ref().is_some_and(|there| there.id == id));
            let refusal = match is_asked {
                true => refusal(session, &order, there.as_ref()).await?,
                false => Some(Refusal::Missing(order.name.clone())),
            };
            match refusal {
                None => place(session, &mut order, there, new.record_refused, &mut steps).await?,
                Some(refusal) if new.record_refused => {
                    let reason = refusal.to_string();
                    steps.push(ended(&order, OrderState::Failed, &reason, order.created_at));
                    order.state = OrderState::Failed;
                    order.reason = Some(reason);
                    record(session, &order, false).await?;
                }
                Some(refusal) => return Ok(Acceptance::Refused(refusal)),
            }
        }
        state => return Err(invalid(format!("accepting order {}: its state is {state}", order.id)).into()),
    }
    add_steps(session, &order, steps, order.created_at).await?;
    Ok(Acceptance::New(known_order(session, order.id).await?))
}

/// The release that is there by the order's name.
async fn live(session: &Session, order: &Order) -> Result<Option<Release>, Failure> {
    let sql = format!(
        "SELECT {RELEASE} FROM store.release r \
         WHERE r.client = $1 AND r.environment = $2 AND r.name = $3 AND r.removed_at IS NULL"
    );
    let row = session.row(&sql, &[&order.client.as_str(), &order.environment, &order.name]).await?;
    row.as_ref().map(rows::release).transpose()
}

/// Why the order cannot be, in the order of the refusals.
async fn refusal(
    session: &Session,
    order: &Order,
    there: Option<&Release>,
) -> Result<Option<Refusal>, Failure> {
    let name = || order.name.clone();
    let Some(release) = there else {
        return match order.action {
            Action::Apply | Action::Create => taken(session, order).await,
            Action::Update | Action::Rollback | Action::Remove => Ok(Some(Refusal::Missing(name()))),
        };
    };
    if order.action == Action::Create && !is_vacant(session, release).await? {
        return Ok(Some(Refusal::Exists(name())));
    }
    if order.product != release.product {
        return Ok(Some(Refusal::OtherProduct { name: name(), product: release.product.clone() }));
    }
    if order.namespace != release.namespace {
        return Ok(Some(Refusal::OtherNamespace { name: name(), namespace: release.namespace.clone() }));
    }
    if let (Action::Rollback, Some(revision)) = (order.action, order.to_revision) {
        let sql = "SELECT 1 FROM store.revision WHERE release = $1 AND number = $2";
        if session.row(sql, &[&release.id, &integer(revision)]).await?.is_none() {
            return Ok(Some(Refusal::NoRevision { name: name(), revision }));
        }
    }
    Ok(None)
}

/// Whether nothing of the release is there and nobody is at work on it: its first
/// order did not succeed.
async fn is_vacant(session: &Session, release: &Release) -> Result<bool, Failure> {
    if release.status.state != ReleaseState::Absent {
        return Ok(false);
    }
    let newest = stored_order(session, release.order).await?;
    Ok(newest.is_some_and(|newest| newest.state.is_final()))
}

/// Whether the namespace of a new release belongs to others.
async fn taken(session: &Session, order: &Order) -> Result<Option<Refusal>, Failure> {
    let namespace = || order.namespace.clone();
    // All releases of a namespace are of one owner.
    let sql = "SELECT client, environment FROM store.release \
               WHERE target = $1 AND namespace = $2 AND removed_at IS NULL LIMIT 1";
    let Some(owner) = session.row(sql, &[&order.target, &order.namespace]).await? else { return Ok(None) };
    let (client, environment): (&str, String) = (owner.try_get(0)?, owner.try_get(1)?);
    Ok(if client != order.client.as_str() {
        Some(Refusal::TakenByClient(namespace()))
    } else if environment != order.environment {
        Some(Refusal::TakenByEnvironment { namespace: namespace(), environment })
    } else {
        None
    })
}

/// Gives the order its place among those of its release, which is made where it
/// is not there.
async fn place(
    session: &Session,
    order: &mut Order,
    there: Option<Release>,
    is_replay: bool,
    steps: &mut Vec<Step>,
) -> Result<(), Failure> {
    let at = order.created_at;
    let Some(release) = there else {
        let id = Uuid::now_v7();
        order.release = Some(id);
        insert_release(session, id, order).await?;
        record(session, order, true).await?;
        return due::begin(session, id, order).await;
    };
    order.release = Some(release.id);
    // The release stays where it is, whatever the target of a new one would be.
    order.target.clone_from(&release.target);
    let newest = known_order(session, release.order).await?;
    if !is_replay {
        // Somebody waits for it now: only a clock that was set back makes it older.
        order.ordered_at = order.ordered_at.max(newest.ordered_at);
    }
    if order.ordered_at.as_microsecond() < newest.ordered_at.as_microsecond() {
        let reason = format!("order {} is newer", newest.id);
        steps.push(ended(order, OrderState::Superseded, &reason, at));
        order.state = OrderState::Superseded;
        order.reason = Some(reason);
        return record(session, order, false).await;
    }
    if !newest.state.is_final() {
        end(session, &newest, OrderState::Superseded, &format!("order {} took its place", order.id), at)
            .await?;
    }
    session.execute("UPDATE store.release_order SET newest = false WHERE id = $1", &[&newest.id.0]).await?;
    record(session, order, true).await?;
    let describes = matches!(order.action, Action::Apply | Action::Create | Action::Update);
    let sql = "UPDATE store.release SET order_id = $2, trace = $3, trace_given = $4, updated_at = $5, \
               archtype = CASE WHEN $6 THEN coalesce($7, archtype) ELSE archtype END, \
               hardware = CASE WHEN $6 THEN coalesce($8, hardware) ELSE hardware END WHERE id = $1";
    session
        .execute(
            sql,
            &[
                &release.id,
                &order.id.0,
                &order.trace.id,
                &order.trace.given,
                &Moment(at),
                &describes,
                &order.archtype,
                &order.hardware,
            ],
        )
        .await?;
    due::order_began(session, release.id, at).await
}

async fn record(session: &Session, order: &Order, newest: bool) -> Result<(), Failure> {
    insert_order(session, order, newest).await?;
    tell(session, order.id).await
}

/// Whether the release is held, or left half done: then whoever holds its lease, or
/// claims it next, has to see what becomes of it.
async fn is_in_work(session: &Session, order: &Order) -> Result<bool, Failure> {
    let Some(id) = order.release else { return Ok(false) };
    let release = known_release(session, id).await?;
    Ok(release.status.is_half_done() || due::is_held(session, id).await?)
}

/// The order, and whether anything changed.
pub(super) async fn cancel(
    session: &Session,
    scope: &Scope,
    id: EventId,
    at: Timestamp,
) -> Result<(Order, bool), Failure> {
    let order = stored_order(session, id).await?.filter(|order| scope.covers(&order.client));
    let order = order.ok_or_else(|| not_found(format!("cancelling order {id}: there is none")))?;
    match order.state {
        OrderState::Cancelled => return Ok((order, false)),
        OrderState::Removing => {
            let message = format!("order {id} is removing its release, which cannot be cancelled any more");
            return Err(conflict(message).into());
        }
        state if state.is_final() => {
            let message = format!("order {id} is {state} already: there is nothing to cancel");
            return Err(conflict(message).into());
        }
        _ if order.cancel => return Ok((order, false)),
        _ => {}
    }
    let sql = "UPDATE store.release_order SET cancel = true WHERE id = $1 RETURNING claimed";
    let claimed: bool = match session.row(sql, &[&id.0]).await? {
        Some(row) => row.try_get(0)?,
        None => false,
    };
    if order.state == OrderState::Accepted && !claimed && !is_in_work(session, &order).await? {
        let reason = "it was cancelled before work on it began";
        end(session, &order, OrderState::Cancelled, reason, at).await?;
    }
    if let Some(release) = order.release {
        due::wake(session, release, at).await?;
    }
    Ok((known_order(session, id).await?, true))
}
