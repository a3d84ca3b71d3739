//! Orders on their way in.

use std::sync::Arc;

use orderwire_types::{Action, OrderState, ReleaseState};

use super::super::Factory;
use super::super::kit::{self, Outcome, all, at, holds, only, same, step};
use super::super::orders::{
    accepted, claim, claimed, finish, found, order, order_id, refused, remove, status, to,
};
use super::case_list;
use crate::error::ErrorKind;
use crate::orders::{Acceptance, Advance, NewOrder, Order, Refusal, ReleaseStatus};

case_list![
    an_order_is_recorded_once,
    an_order_begins_accepted_or_failed,
    orders_are_refused_for_the_first_reason,
    a_release_of_which_nothing_is_there_can_be_created,
    a_refused_order_is_recorded_where_that_is_asked_for,
    a_namespace_belongs_to_one_owner_while_a_release_is_there,
    a_newer_order_supersedes_an_unfinished_one,
    an_order_outlives_a_removal_that_it_interrupts,
    an_older_order_that_comes_late_is_superseded,
    an_order_that_can_be_refused_is_the_newest_whatever_the_clock_says,
    an_order_goes_where_its_release_is,
    only_orders_that_describe_a_release_change_what_they_name,
    cancelling_depends_on_how_far_an_order_is,
    what_an_older_order_left_half_done_is_not_cancelled_at_once,
];

use Action::{Apply, Create, Remove, Rollback, Update};

async fn an_order_is_recorded_once(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let new = order(1, "a", "web", Apply, 1);
    let first = accepted(&store, new.clone()).await?;
    let expected = Order { release: first.release, ..new.order.clone() };
    same("the order", &first, &expected)?;
    holds("it has a release", first.release.is_some())?;
    same("again", store.accept(new.clone()).await?, Acceptance::Known(first.clone()))?;
    let mut other = new.clone();
    other.order.fingerprint = [9; 16];
    same("another content", refused(&store, other).await?, Refusal::OtherContent)?;
    let mut failed = order(2, "a", "none", Apply, 2);
    failed.order.state = OrderState::Failed;
    failed.order.reason = Some("there is no such product".to_owned());
    same("a failed one", accepted(&store, failed.clone()).await?, failed.order.clone())?;
    drop(store);
    let store = factory.open().await?;
    same("later", store.accept(new.clone()).await?, Acceptance::Known(first.clone()))?;
    same("read", store.order(&all(), order_id(1)).await?, Some(first.clone()))?;
    same("the failed one", store.order(&all(), order_id(2)).await?, Some(failed.order))?;
    let told: Vec<_> = store.untold(9).await?.into_iter().map(|change| (change.order.id, change.n)).collect();
    same("told", told, vec![(order_id(1), 1), (order_id(2), 1)])?;
    let trace = store.trace(&all(), first.trace.id).await?;
    same("trace", trace.steps, vec![step(1, "accepted")])?;
    let release = found(store.release(&all(), first.release.unwrap_or_default()).await?)?;
    same("the order of the release", (release.order, release.trace), (first.id, first.trace))?;
    same("its status", release.status, status(ReleaseState::Changing, None))?;
    same("its place", (release.namespace.as_str(), release.target.as_str()), ("a", "t"))
}

async fn an_order_begins_accepted_or_failed(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    for state in OrderState::ALL {
        if matches!(state, OrderState::Accepted | OrderState::Failed) {
            continue;
        }
        let new = with(order(1, "a", "web", Apply, 1), |order| order.state = state);
        kit::refused(state.as_str(), store.accept(new).await, ErrorKind::Invalid)?;
    }
    same("nothing was recorded", store.order(&all(), order_id(1)).await?, None)?;
    same("nothing is due", claim(&store, 1).await?, None)
}

/// An order with something changed.
fn with(mut new: NewOrder, change: impl FnOnce(&mut Order)) -> NewOrder {
    change(&mut new.order);
    new
}

async fn orders_are_refused_for_the_first_reason(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let web = || "web".to_owned();
    for action in [Update, Rollback, Remove] {
        let found = refused(&store, order(1, "a", "web", action, 1)).await?;
        same("missing", found, Refusal::Missing(web()))?;
    }
    accepted(&store, order(1, "a", "web", Create, 1)).await?;
    finish(&store, 1).await?;
    let elsewhere = |order: &mut Order| "elsewhere".clone_into(&mut order.namespace);
    let all_wrong = |order: &mut Order| {
        "other".clone_into(&mut order.product);
        elsewhere(order);
        order.to_revision = Some(7);
    };
    let found = refused(&store, with(order(2, "a", "web", Create, 2), all_wrong)).await?;
    same("exists", found, Refusal::Exists(web()))?;
    let found = refused(&store, with(order(2, "a", "web", Rollback, 2), all_wrong)).await?;
    same("product", found, Refusal::OtherProduct { name: web(), product: web() })?;
    let wrong = |order: &mut Order| {
        elsewhere(order);
        order.to_revision = Some(7);
    };
    let found = refused(&store, with(order(2, "a", "web", Rollback, 2), wrong)).await?;
    same("namespace", found, Refusal::OtherNamespace { name: web(), namespace: "a".to_owned() })?;
    for revision in [2, u64::MAX] {
        let back = with(order(2, "a", "web", Rollback, 2), |order| order.to_revision = Some(revision));
        same("revision", refused(&store, back).await?, Refusal::NoRevision { name: web(), revision })?;
    }
    same("nothing was recorded", store.order(&all(), order_id(2)).await?, None)?;
    same("nothing is due", claim(&store, 5).await?, None)?;
    let back = with(order(2, "a", "web", Rollback, 2), |order| order.to_revision = Some(1));
    accepted(&store, back).await.map(drop)
}

async fn a_release_of_which_nothing_is_there_can_be_created(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    accepted(&store, order(1, "a", "web", Create, 1)).await?;
    let work = claimed(&store, 2).await?;
    let failed = Advance { status: Some(status(ReleaseState::Absent, None)), ..to(2, OrderState::Failed) };
    store.advance(work.lease, order_id(1), failed).await?;
    store.hand_back(work.lease, None).await?;
    let again = accepted(&store, order(2, "a", "web", Create, 3)).await?;
    same("the same release", again.release, Some(work.release.id))?;
    let found = refused(&store, order(3, "a", "web", Create, 4)).await?;
    same("while somebody is at work on it", found, Refusal::Exists("web".to_owned()))
}

async fn a_refused_order_is_recorded_where_that_is_asked_for(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    accepted(&store, order(1, "a", "web", Apply, 1)).await?;
    let new = NewOrder { record_refused: true, ..order(2, "a", "web", Create, 2) };
    let failed = accepted(&store, new.clone()).await?;
    let reason = Refusal::Exists("web".to_owned()).to_string();
    same("state", (failed.state, failed.reason.as_ref()), (OrderState::Failed, Some(&reason)))?;
    same("release", failed.release, None)?;
    same("again", store.accept(new).await?, Acceptance::Known(failed.clone()))?;
    let steps = store.trace(&all(), failed.trace.id).await?.steps;
    let last = steps.last().map(|step| (step.step.as_str(), step.detail.as_ref()));
    same("trace", last, Some(("failed", Some(&reason))))?;
    let newest = found(claim(&store, 3).await?)?.order.map(|order| order.id);
    same("the other order goes on", newest, Some(order_id(1)))
}

async fn a_namespace_belongs_to_one_owner_while_a_release_is_there(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let shared = |order: &mut Order| "shared".clone_into(&mut order.namespace);
    let stage = |order: &mut Order| {
        shared(order);
        "stage".clone_into(&mut order.environment);
    };
    accepted(&store, with(order(1, "a", "one", Apply, 1), shared)).await?;
    accepted(&store, with(order(2, "a", "two", Apply, 2), shared)).await?;
    let taken = || Refusal::TakenByClient("shared".to_owned());
    same("client", refused(&store, with(order(3, "b", "one", Apply, 3), shared)).await?, taken())?;
    let found = refused(&store, with(order(3, "a", "one", Apply, 3), stage)).await?;
    let (namespace, environment) = ("shared".to_owned(), "dev".to_owned());
    same("environment", found, Refusal::TakenByEnvironment { namespace, environment })?;
    let elsewhere = with(order(3, "b", "one", Apply, 3), |order| {
        shared(order);
        "u".clone_into(&mut order.target);
    });
    accepted(&store, elsewhere).await?;
    finish(&store, 4).await?;
    finish(&store, 4).await?;
    accepted(&store, with(order(4, "a", "one", Remove, 5), shared)).await?;
    same("removed", remove(&store, 6).await?.status.state, ReleaseState::Removed)?;
    same("one is left", refused(&store, with(order(5, "b", "three", Apply, 7), shared)).await?, taken())?;
    accepted(&store, with(order(6, "a", "two", Remove, 7), shared)).await?;
    let gone = remove(&store, 8).await?;
    drop(store);
    let store = factory.open().await?;
    let new = accepted(&store, with(order(7, "b", "three", Create, 9), shared)).await?;
    holds("a release of its own", new.release != Some(gone.id))?;
    // Nothing of what was removed is due, whatever was said when it was handed back.
    store.touch(gone.id, at(1)).await?;
    same("due", claimed(&store, 9).await?.release.client, kit::client("b"))
}

async fn a_newer_order_supersedes_an_unfinished_one(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let first = accepted(&store, order(1, "a", "web", Apply, 1)).await?;
    let work = claimed(&store, 1).await?;
    store.advance(work.lease, first.id, to(1, OrderState::Applying)).await?;
    // The same moment counts as newer.
    let second = accepted(&store, order(2, "a", "web", Update, 1)).await?;
    same("one release", second.release, first.release)?;
    let old = found(store.order(&all(), first.id).await?)?;
    same("the older", old.state, OrderState::Superseded)?;
    let names = |text: Option<String>| text.is_some_and(|text| text.contains(&second.id.to_string()));
    holds("its reason names the newer", names(old.reason))?;
    let steps = store.trace(&all(), first.trace.id).await?.steps;
    let told = steps.into_iter().find(|step| step.step == "superseded");
    let told = found(told)?;
    same("its step", (told.role.as_str(), told.outcome.as_str()), ("provisioner", "superseded"))?;
    holds("which names the newer", names(told.detail))?;
    let seen = store.advance(work.lease, first.id, Advance { at: at(2), ..Advance::default() }).await?;
    same("the holder sees it", seen.id, second.id)?;
    store.hand_back(work.lease, None).await?;
    let release = finish(&store, 2).await?;
    same("the order of the release", (release.order, release.trace), (second.id, second.trace.clone()))?;
    // A finished one stays as it is.
    accepted(&store, order(3, "a", "web", Apply, 3)).await?;
    same("the ready one", found(store.order(&all(), second.id).await?)?.state, OrderState::Ready)
}

async fn an_order_outlives_a_removal_that_it_interrupts(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    accepted(&store, order(1, "a", "web", Apply, 1)).await?;
    finish(&store, 1).await?;
    let removal = accepted(&store, order(2, "a", "web", Remove, 2)).await?;
    let work = claimed(&store, 2).await?;
    store.advance(work.lease, removal.id, to(2, OrderState::Removing)).await?;
    let newer = accepted(&store, order(3, "a", "web", Apply, 3)).await?;
    let gone = Advance { status: Some(status(ReleaseState::Removed, None)), ..to(4, OrderState::Removed) };
    same("the newest", store.advance(work.lease, removal.id, gone).await?.id, newer.id)?;
    store.hand_back(work.lease, None).await?;
    let release = found(store.release(&all(), work.release.id).await?)?;
    same("the release", release.status, status(ReleaseState::Changing, None))?;
    same("the removal", found(store.order(&all(), removal.id).await?)?.state, OrderState::Superseded)?;
    let next = claimed(&store, 4).await?;
    same("what is next", (next.release.id, next.order), (release.id, Some(newer)))
}

async fn an_older_order_that_comes_late_is_superseded(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let newer = accepted(&store, order(1, "a", "web", Apply, 5)).await?;
    let replayed = |new| NewOrder { record_refused: true, ..new };
    let late = replayed(with(order(2, "a", "web", Apply, 6), |order| order.ordered_at = at(4)));
    let late = accepted(&store, late).await?;
    same("the older", (late.state, late.release), (OrderState::Superseded, newer.release))?;
    let reason = late.reason.unwrap_or_default();
    holds("its reason names the newer", reason.contains(&newer.id.to_string()))?;
    same("the newer", found(store.order(&all(), newer.id).await?)?.state, OrderState::Accepted)?;
    let release = found(store.release(&all(), newer.release.unwrap_or_default()).await?)?;
    same("the release", release.order, newer.id)?;
    finish(&store, 6).await?;
    let later = replayed(with(order(3, "a", "web", Apply, 7), |order| order.ordered_at = at(4)));
    same("a finished one counts", accepted(&store, later).await?.state, OrderState::Superseded)?;
    same("nothing is due", claim(&store, 8).await?, None)
}

async fn an_order_that_can_be_refused_is_the_newest_whatever_the_clock_says(
    factory: Arc<dyn Factory>,
) -> Outcome {
    let store = factory.open().await?;
    let first = accepted(&store, order(1, "a", "web", Apply, 5)).await?;
    let set_back = accepted(&store, order(2, "a", "web", Apply, 3)).await?;
    same("it counts", (set_back.state, set_back.ordered_at), (OrderState::Accepted, at(5)))?;
    same("when it was recorded", set_back.created_at, at(3))?;
    same("read", store.order(&all(), set_back.id).await?, Some(set_back.clone()))?;
    same("the older", found(store.order(&all(), first.id).await?)?.state, OrderState::Superseded)?;
    let release = found(store.release(&all(), first.release.unwrap_or_default()).await?)?;
    same("the release", release.order, set_back.id)?;
    // An event that was accepted in between comes late, by that same clock.
    let event = NewOrder { record_refused: true, ..order(3, "a", "web", Apply, 4) };
    same("an event", accepted(&store, event).await?.state, OrderState::Superseded)
}

async fn an_order_goes_where_its_release_is(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    accepted(&store, order(1, "a", "web", Apply, 1)).await?;
    finish(&store, 1).await?;
    let elsewhere = with(order(2, "a", "web", Update, 2), |order| "u".clone_into(&mut order.target));
    let placed = accepted(&store, elsewhere).await?;
    same("its target", placed.target.as_str(), "t")?;
    same("read", store.order(&all(), placed.id).await?, Some(placed.clone()))?;
    same("claimed there", claimed(&store, 2).await?.order, Some(placed))
}

async fn only_orders_that_describe_a_release_change_what_they_name(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let named = |n, action, archtype: Option<&str>, hardware: Option<&str>| {
        with(order(n, "a", "web", action, n.into()), |order| {
            order.archtype = archtype.map(str::to_owned);
            order.hardware = hardware.map(str::to_owned);
        })
    };
    accepted(&store, named(1, Create, Some("saas"), None)).await?;
    let release = finish(&store, 1).await?;
    same("created", (release.archtype.as_deref(), release.hardware.as_deref()), (Some("saas"), None))?;
    for (new, archtype, hardware) in [
        (named(2, Update, None, Some("small")), "saas", "small"),
        (named(3, Apply, Some("edge"), None), "edge", "small"),
        (named(4, Apply, None, None), "edge", "small"),
        (named(5, Rollback, Some("saas"), Some("large")), "edge", "small"),
        (named(6, Remove, Some("saas"), Some("large")), "edge", "small"),
    ] {
        let what = new.order.action.as_str();
        accepted(&store, new).await?;
        let release = found(store.release(&all(), release.id).await?)?;
        same(
            what,
            (release.archtype.as_deref(), release.hardware.as_deref()),
            (Some(archtype), Some(hardware)),
        )?;
    }
    Ok(())
}

async fn what_an_older_order_left_half_done_is_not_cancelled_at_once(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    accepted(&store, order(1, "a", "web", Apply, 1)).await?;
    let work = claimed(&store, 1).await?;
    accepted(&store, order(2, "a", "web", Apply, 2)).await?;
    // Whoever still holds it may write what only the newest order can put right.
    let asked = store.cancel(&all(), order_id(2), at(2)).await?;
    same("while it is held", (asked.state, asked.cancel), (OrderState::Accepted, true))?;
    let half = ReleaseStatus { ready: None, ..status(ReleaseState::Changing, Some(1)) };
    let advance = Advance { at: at(3), status: Some(half), ..Advance::default() };
    store.advance(work.lease, order_id(1), advance).await?;
    store.hand_back(work.lease, None).await?;
    accepted(&store, order(3, "a", "web", Apply, 4)).await?;
    let asked = store.cancel(&all(), order_id(3), at(4)).await?;
    same("half done", (asked.state, asked.cancel), (OrderState::Accepted, true))?;
    let work = claimed(&store, 4).await?;
    same("it is due", work.order.map(|order| (order.id, order.cancel)), Some((order_id(3), true)))?;
    let whole =
        Advance { status: Some(status(ReleaseState::Ready, Some(1))), ..to(5, OrderState::Cancelled) };
    store.advance(work.lease, order_id(3), whole).await?;
    store.hand_back(work.lease, None).await?;
    accepted(&store, order(4, "a", "web", Apply, 6)).await?;
    same("whole", store.cancel(&all(), order_id(4), at(6)).await?.state, OrderState::Cancelled)
}

async fn cancelling_depends_on_how_far_an_order_is(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let none = store.cancel(&all(), order_id(1), at(1)).await;
    kit::refused("none", none, ErrorKind::NotFound)?;
    accepted(&store, order(1, "a", "web", Apply, 1)).await?;
    let outside = store.cancel(&only(&["b"]), order_id(1), at(2)).await;
    kit::refused("outside", outside, ErrorKind::NotFound)?;
    let cancelled = store.cancel(&only(&["a"]), order_id(1), at(2)).await?;
    same("at once", (cancelled.state, cancelled.updated_at), (OrderState::Cancelled, at(2)))?;
    same("again", store.cancel(&all(), order_id(1), at(3)).await?.state, OrderState::Cancelled)?;
    accepted(&store, order(2, "a", "web", Apply, 3)).await?;
    let work = claimed(&store, 3).await?;
    let asked = store.cancel(&all(), order_id(2), at(4)).await?;
    same("of a claimed one", (asked.state, asked.cancel), (OrderState::Accepted, true))?;
    store.cancel(&all(), order_id(2), at(4)).await?;
    let seen = store.advance(work.lease, order_id(2), to(4, OrderState::RollingBack)).await?;
    holds("the holder sees it", seen.cancel)?;
    store.hand_back(work.lease, None).await?;
    let work = claimed(&store, 4).await?;
    store.advance(work.lease, order_id(2), to(5, OrderState::Ready)).await?;
    kit::refused("a finished one", store.cancel(&all(), order_id(2), at(5)).await, ErrorKind::Conflict)?;
    accepted(&store, order(3, "a", "web", Remove, 6)).await?;
    store.advance(work.lease, order_id(3), to(6, OrderState::Removing)).await?;
    let error = store.cancel(&all(), order_id(3), at(7)).await;
    let error = kit::refused("a removal", error, ErrorKind::Conflict)?;
    holds("which says so", error.to_string().contains("removing"))
}
