//! What the cases of orders are written with.

use std::sync::Arc;

use jiff::Timestamp;
use orderwire_types::{Action, EventId, OrderState, ReleaseState, TraceId};

use super::kit::{Failed, Outcome, all, at, client, id, json, step};
use crate::orders::{
    Acceptance, Advance, Claimed, NewOrder, Order, Refusal, Release, ReleaseStatus, Revision,
};
use crate::traits::Store;

/// An accepted order of client `acme` for its release `web`: what a test does not care
/// about.
pub fn sample(id: EventId, at: Timestamp) -> Order {
    Order {
        id,
        trace: TraceId::from_uuid(id.0),
        client: client("acme"),
        name: "web".to_owned(),
        product: "web".to_owned(),
        environment: "dev".to_owned(),
        archtype: None,
        hardware: None,
        namespace: "acme".to_owned(),
        target: "local".to_owned(),
        action: Action::Apply,
        to_revision: None,
        parameters: json("{}"),
        principal: "key:test".to_owned(),
        fingerprint: [7; 16],
        ordered_at: at,
        depth: 0,
        release: None,
        state: OrderState::Accepted,
        reason: None,
        revision: None,
        cancel: false,
        removed: Vec::new(),
        created_at: at,
        updated_at: at,
    }
}

/// Order `n` of this client about its release of this name, on target `t`.
pub(super) fn order(n: u8, owner: &str, name: &str, action: Action, second: i64) -> NewOrder {
    let order = Order {
        trace: TraceId::from_given(&format!("trace {n}")),
        client: client(owner),
        name: name.to_owned(),
        archtype: Some("saas".to_owned()),
        namespace: owner.to_owned(),
        target: "t".to_owned(),
        action,
        parameters: json(r#"{"size":1.10,"text":"ä"}"#),
        fingerprint: [n; 16],
        depth: n,
        ..sample(order_id(n.into()), at(second))
    };
    NewOrder { order, record_refused: false, steps: vec![step(second, "accepted")] }
}

pub(super) fn order_id(n: u128) -> EventId {
    EventId(id(n))
}

/// Accepts an order that must be new.
pub(super) async fn accepted(store: &Arc<dyn Store>, new: NewOrder) -> Outcome<Order> {
    match store.accept(new).await? {
        Acceptance::New(order) => Ok(order),
        other => Err(Failed(format!("found {other:?}, expected a new order"))),
    }
}

/// Accepts an order that must be refused.
pub(super) async fn refused(store: &Arc<dyn Store>, new: NewOrder) -> Outcome<Refusal> {
    match store.accept(new).await? {
        Acceptance::Refused(refusal) => Ok(refusal),
        other => Err(Failed(format!("found {other:?}, expected a refusal"))),
    }
}

/// Targets.
pub(super) fn targets(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Claims a release of target `t`, for half a minute.
pub(super) async fn claim(store: &Arc<dyn Store>, second: i64) -> Outcome<Option<Claimed>> {
    Ok(store.claim("t", 1, at(second), at(second + 30)).await?.pop())
}

/// Claims the release that must be due.
pub(super) async fn claimed(store: &Arc<dyn Store>, second: i64) -> Outcome<Claimed> {
    claim(store, second).await?.ok_or_else(|| Failed("nothing is due".to_owned()))
}

/// An advance to this state of the order.
pub(super) fn to(second: i64, state: OrderState) -> Advance {
    Advance { at: at(second), state: Some((state, None)), ..Advance::default() }
}

/// A status of this state.
pub(super) fn status(state: ReleaseState, applied: Option<u64>) -> ReleaseStatus {
    ReleaseStatus { state, applied, ready: applied, ..ReleaseStatus::new() }
}

pub(super) fn revision(order: &Order, number: u64, second: i64) -> Revision {
    Revision {
        number,
        hash: format!("hash {number}"),
        content: json(r#"{"image":"web","cpu":0.10}"#),
        order: order.id,
        trace: order.trace.clone(),
        created_at: at(second),
        ready_at: None,
    }
}

/// Does all the work of an order: one revision more, and it is ready.
pub(super) async fn finish(store: &Arc<dyn Store>, second: i64) -> Outcome<Release> {
    let Claimed { lease, release, order, .. } = claimed(store, second).await?;
    let order = order.ok_or_else(|| Failed("there is nothing to do".to_owned()))?;
    let number = release.revisions + 1;
    let advance = Advance {
        revision: Some(number),
        new_revision: Some(revision(&order, number, second)),
        became_ready: Some(number),
        status: Some(status(ReleaseState::Ready, Some(number))),
        ..to(second, OrderState::Ready)
    };
    store.advance(lease, order.id, advance).await?;
    store.hand_back(lease, None).await?;
    found(store.release(&all(), release.id).await?)
}

/// Removes the release that is due.
pub(super) async fn remove(store: &Arc<dyn Store>, second: i64) -> Outcome<Release> {
    let Claimed { lease, release, order, .. } = claimed(store, second).await?;
    let order = order.ok_or_else(|| Failed("there is nothing to do".to_owned()))?;
    let advance = Advance {
        status: Some(status(ReleaseState::Removed, None)),
        removed: vec!["Process web".to_owned()],
        ..to(second, OrderState::Removed)
    };
    store.advance(lease, order.id, advance).await?;
    store.hand_back(lease, Some(at(second))).await?;
    found(store.release(&all(), release.id).await?)
}

pub(super) fn found<T>(there: Option<T>) -> Outcome<T> {
    there.ok_or_else(|| Failed("it is not there".to_owned()))
}
