//! Who works on which release, and when.

use std::collections::BTreeSet;
use std::sync::Arc;

use orderwire_types::{Action, OrderState, ReleaseState};
use uuid::Uuid;

use super::super::Factory;
use super::super::kit::{Failed, Outcome, all, at, holds, id, json, refused, same, step};
use super::super::orders::{
    accepted, claim, claimed, finish, found, order, order_id, revision, status, targets, to,
};
use super::case_list;
use crate::error::ErrorKind;
use crate::orders::{Advance, Claimed, PATROL, ReleaseStatus};
use crate::traits::Store;

case_list![
    clients_are_served_in_turn,
    what_is_due_longest_on_a_wanted_target_is_claimed,
    a_claim_takes_no_more_than_asked_for_and_is_fair_within,
    what_is_ordered_goes_before_what_is_looked_after,
    an_order_that_ended_lets_others_go_first,
    what_is_looked_after_comes_to_its_turn,
    a_lease_that_is_over_changes_nothing,
    no_wake_up_is_lost_while_a_release_is_held,
    what_was_begun_on_a_target_is_due_when_it_is_taken_over,
    what_is_due_next_is_known,
    changes_are_noticed_after_the_commit,
    prolonging_a_lease_is_no_change,
    of_a_long_journal_the_newest_entries_are_handed_out,
    an_advance_is_whole_or_not_at_all,
    a_finished_order_keeps_its_state,
    changes_of_state_are_told_in_order_until_they_are_told,
];

use Action::Apply;

/// More than a client with one release would want to wait for.
const MANY: usize = 1_000;

async fn clients_are_served_in_turn(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let mut accepting = tokio::task::JoinSet::new();
    for n in 0..MANY {
        let mut new = order(1, "a", &format!("web-{n}"), Apply, 1);
        new.order.id = order_id(1_000 + n as u128);
        let store = store.clone();
        accepting.spawn(async move { accepted(&store, new).await });
    }
    while let Some(done) = accepting.join_next().await {
        done.map_err(|error| Failed(error.to_string()))??;
    }
    // Served before, so that the others are not merely new.
    accepted(&store, order(1, "b", "web", Apply, 1)).await?;
    accepted(&store, order(2, "c", "web", Apply, 1)).await?;
    let mut served = Vec::new();
    for _ in 0..6 {
        served.push(claimed(&store, 2).await?.release.client.to_string());
    }
    let mut round: Vec<_> = served[..3].to_vec();
    round.sort();
    same("the first round", round.join(" "), "a b c".to_owned())?;
    same("others then", served[3..].join(" "), "a a a".to_owned())?;
    accepted(&store, order(3, "b", "other", Apply, 3)).await?;
    same("one more", claimed(&store, 3).await?.release.client.to_string(), "b".to_owned())
}

async fn what_is_due_longest_on_a_wanted_target_is_claimed(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    for (n, name, target, second) in [(1, "one", "t", 3), (2, "two", "u", 1), (3, "three", "t", 2)] {
        let mut new = order(n, "a", name, Apply, second);
        target.clone_into(&mut new.order.target);
        accepted(&store, new).await?;
    }
    same("too early", claim(&store, 1).await?.map(|claimed| claimed.release.name), None)?;
    let mut found = Vec::new();
    while let Some(work) = claim(&store, 9).await? {
        found.push(work.release.name);
    }
    same("on one target", found.join(" "), "three one".to_owned())?;
    same("on none", store.claim("v", 9, at(9), at(39)).await?, Vec::new())?;
    same("on the other", names(&store.claim("u", 9, at(9), at(39)).await?), "two".to_owned())?;
    // Leases end: what is due longest is then what ended first.
    same("held", claim(&store, 38).await?, None)?;
    holds("over", claim(&store, 39).await?.is_some())
}

/// The names of the releases that were claimed, in order.
fn names(claimed: &[Claimed]) -> String {
    claimed.iter().map(|claimed| claimed.release.name.as_str()).collect::<Vec<_>>().join(" ")
}

async fn a_claim_takes_no_more_than_asked_for_and_is_fair_within(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    for (n, owner, name) in [(1, "a", "one"), (2, "a", "two"), (3, "a", "three"), (4, "b", "four")] {
        accepted(&store, order(n, owner, name, Apply, n.into())).await?;
    }
    same("none", store.claim("t", 0, at(9), at(39)).await?, Vec::new())?;
    let some = store.claim("t", 3, at(9), at(39)).await?;
    same("some", names(&some), "one four two".to_owned())?;
    for held in &some {
        store.extend(held.lease, at(40)).await?;
    }
    same("the rest", names(&store.claim("t", 9, at(9), at(39)).await?), "three".to_owned())
}

/// Makes `count` releases of a client on which everything is done.
async fn finished(store: &Arc<dyn Store>, owner: &str, count: u8) -> Outcome<Vec<Uuid>> {
    let mut ids = Vec::new();
    for n in 0..count {
        accepted(store, order(100 + n, owner, &format!("done-{n}"), Apply, 1)).await?;
        ids.push(finish(store, 1).await?.id);
    }
    Ok(ids)
}

async fn touched(store: &Arc<dyn Store>, releases: &[Uuid], second: i64) -> Outcome {
    for release in releases {
        store.touch(*release, at(second)).await?;
    }
    Ok(())
}

async fn what_is_ordered_goes_before_what_is_looked_after(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let mut done = finished(&store, "a", 20).await?;
    touched(&store, &done, 2).await?;
    accepted(&store, order(1, "a", "new", Apply, 8)).await?;
    accepted(&store, order(2, "b", "other", Apply, 8)).await?;
    // One that was there already, due for long.
    accepted(&store, order(3, "a", "done-7", Apply, 8)).await?;
    done.remove(7);
    let mut first = store.claim("t", 4, at(9), at(39)).await?;
    let ordered: Vec<_> = first.iter().filter(|claimed| claimed.order.is_some()).collect();
    holds("they come first", ordered.len() == 3)?;
    // One more at most, in between.
    first.retain(|claimed| claimed.order.is_none());
    let rest = store.claim("t", 99, at(9), at(39)).await?;
    let looked: BTreeSet<_> = first.iter().chain(&rest).map(|claimed| claimed.release.id).collect();
    same("then the others", looked, done.into_iter().collect())
}

async fn an_order_that_ended_lets_others_go_first(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    accepted(&store, order(1, "a", "ends", Apply, 1)).await?;
    accepted(&store, order(2, "b", "cancelled", Apply, 1)).await?;
    let mut held = store.claim("t", 2, at(1), at(31)).await?;
    held.sort_by_key(|claimed| claimed.release.client.to_string());
    store.cancel(&all(), order_id(2), at(2)).await?;
    for (work, state) in held.iter().zip([OrderState::Failed, OrderState::Cancelled]) {
        let order = work.order.as_ref().map(|order| order.id);
        store.advance(work.lease, found(order)?, to(3, state)).await?;
        store.hand_back(work.lease, Some(at(3))).await?;
    }
    drop(store);
    let store = factory.open().await?;
    for n in 3..7 {
        accepted(&store, order(n, "c", &format!("new-{n}"), Apply, 9)).await?;
    }
    // Another order for it: somebody waits again.
    accepted(&store, order(7, "b", "cancelled", Apply, 9)).await?;
    // "ends" is due longest and its client was served longest ago.
    let first = store.claim("t", 5, at(9), at(39)).await?;
    same("first", first.iter().filter(|claimed| claimed.order.is_some()).count(), 5)?;
    same("then", names(&store.claim("t", 9, at(9), at(39)).await?), "ends".to_owned())
}

async fn what_is_looked_after_comes_to_its_turn(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let done = finished(&store, "a", 2).await?;
    touched(&store, &done, 2).await?;
    let patrol = usize::try_from(PATROL).unwrap_or(usize::MAX);
    for n in 0..2 * patrol {
        let mut new = order(1, "a", &format!("web-{n}"), Apply, 1);
        new.order.id = order_id(1_000 + n as u128);
        accepted(&store, new).await?;
    }
    let round = store.claim("t", patrol, at(9), at(39)).await?;
    let others = round.iter().filter(|claimed| claimed.order.is_none()).count();
    same("of one round", (round.len(), others), (patrol, 1))?;
    // Those of another target are not counted.
    let mut elsewhere = order(2, "a", "elsewhere", Apply, 1);
    "u".clone_into(&mut elsewhere.order.target);
    accepted(&store, elsewhere).await?;
    let mut others = 0;
    for n in 0..patrol {
        if n == 5 {
            same("elsewhere", store.claim("u", 1, at(9), at(39)).await?.len(), 1)?;
        }
        others += usize::from(claimed(&store, 9).await?.order.is_none());
    }
    same("of claims one by one", others, 1)
}

async fn a_lease_that_is_over_changes_nothing(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let first = accepted(&store, order(1, "a", "web", Apply, 1)).await?;
    let old = claimed(&store, 1).await?.lease;
    // It has ended, but nobody else has claimed.
    store.advance(old, first.id, to(40, OrderState::Planned)).await?;
    store.extend(old, at(60)).await?;
    same("held again", claim(&store, 59).await?, None)?;
    drop(store);
    let store = factory.open().await?;
    let new = claimed(&store, 60).await?;
    holds("numbers grow", new.lease.number > old.number)?;
    let advance = Advance {
        journal: vec![("plan".to_owned(), "begun".to_owned(), None)],
        steps: vec![step(61, "late")],
        status: Some(status(ReleaseState::Ready, Some(1))),
        new_revision: Some(revision(&first, 1, 61)),
        ..to(61, OrderState::Ready)
    };
    for lease in
        [old, crate::orders::Lease { number: 99, ..old }, crate::orders::Lease { release: id(9), ..old }]
    {
        let result = store.advance(lease, first.id, advance.clone()).await;
        refused("advance", result, ErrorKind::Conflict)?;
        refused("extend", store.extend(lease, at(99)).await, ErrorKind::Conflict)?;
        refused("hand back", store.hand_back(lease, Some(at(1))).await, ErrorKind::Conflict)?;
    }
    same("order", found(store.order(&all(), first.id).await?)?.state, OrderState::Planned)?;
    same("release", store.release(&all(), new.release.id).await?, Some(new.release))?;
    same("journal", store.journal(&all(), first.id, 0, 9).await?, Vec::new())?;
    same("trace", store.trace(&all(), first.trace.id).await?.steps.len(), 1)?;
    store.hand_back(new.lease, None).await?;
    refused("twice", store.hand_back(new.lease, None).await, ErrorKind::Conflict)?;
    let result = store.advance(new.lease, first.id, advance).await;
    refused("after it", result, ErrorKind::Conflict).map(drop)
}

async fn no_wake_up_is_lost_while_a_release_is_held(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    accepted(&store, order(1, "a", "web", Apply, 1)).await?;
    let release = finish(&store, 1).await?.id;
    same("nothing to do", claim(&store, 1_000).await?, None)?;
    store.touch(release, at(5)).await?;
    store.touch(release, at(7)).await?;
    same("not yet", claim(&store, 4).await?, None)?;
    let work = claimed(&store, 5).await?;
    same("the release itself is due", work.order, None)?;
    store.hand_back(work.lease, Some(at(20))).await?;
    same("later", claim(&store, 19).await?, None)?;
    let work = claimed(&store, 20).await?;
    store.touch(release, at(21)).await?;
    store.hand_back(work.lease, Some(at(90))).await?;
    let work = claimed(&store, 21).await?;
    accepted(&store, order(2, "a", "web", Apply, 22)).await?;
    store.hand_back(work.lease, None).await?;
    let work = claimed(&store, 22).await?;
    same("the order is", work.order.map(|order| order.id), Some(order_id(2)))?;
    store.cancel(&all(), order_id(2), at(23)).await?;
    store.hand_back(work.lease, Some(at(90))).await?;
    let work = claimed(&store, 23).await?;
    // Those before this claim are not new.
    store.hand_back(work.lease, None).await?;
    same("all was seen", claim(&store, 1_000).await?, None)?;
    store.touch(id(9), at(1)).await?;
    same("there is no other", claim(&store, 1_000).await?, None)
}

async fn what_was_begun_on_a_target_is_due_when_it_is_taken_over(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    for (n, name, second) in [(1, "ready", 1), (2, "held", 2), (3, "waits", 3), (4, "cancelled", 4)] {
        accepted(&store, order(n, "a", name, Apply, second)).await?;
    }
    finish(&store, 5).await?;
    let held = claimed(&store, 5).await?;
    let waits = claimed(&store, 5).await?;
    store.hand_back(waits.lease, Some(at(500))).await?;
    store.cancel(&all(), order_id(4), at(5)).await?;
    let idle = claimed(&store, 5).await?;
    store.hand_back(idle.lease, None).await?;
    drop(store);
    let store = factory.open().await?;
    same("of others", store.take_over(&targets(&["u"]), at(6)).await?, 0)?;
    same("nothing", claim(&store, 6).await?, None)?;
    same("due", store.take_over(&targets(&["t"]), at(7)).await?, 2)?;
    refused("the old lease", store.extend(held.lease, at(99)).await, ErrorKind::Conflict)?;
    let mut names = Vec::new();
    while let Some(work) = claim(&store, 7).await? {
        names.push(work.release.name);
    }
    names.sort();
    same("due", names.join(" "), "held waits".to_owned())
}

async fn what_is_due_next_is_known(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let next = async |second| store.next_due("t", at(second)).await;
    same("nothing", next(1).await?, None)?;
    accepted(&store, order(1, "a", "web", Apply, 1)).await?;
    holds("now", next(2).await?.is_some_and(|due| due <= at(2)))?;
    same("elsewhere", store.next_due("u", at(2)).await?, None)?;
    let work = claimed(&store, 2).await?;
    same("the end of the lease", next(3).await?, Some(at(32)))?;
    store.extend(work.lease, at(40)).await?;
    same("its new end", next(3).await?, Some(at(40)))?;
    accepted(&store, order(2, "b", "web", Apply, 4)).await?;
    let other = claimed(&store, 4).await?;
    store.hand_back(other.lease, Some(at(20))).await?;
    same("the first of all", next(5).await?, Some(at(20)))?;
    store.hand_back(work.lease, None).await?;
    same("without the one with nothing to do", next(50).await?, Some(at(20)))
}

async fn changes_are_noticed_after_the_commit(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let mut changes = store.changes();
    changes.mark_unchanged();
    let mut noticed = async |what: &str| -> Outcome {
        let has = changes.has_changed().map_err(|error| Failed(error.to_string()))?;
        changes.mark_unchanged();
        holds(what, has)
    };
    accepted(&store, order(1, "a", "web", Apply, 1)).await?;
    noticed("an order").await?;
    let work = claimed(&store, 1).await?;
    // Nobody else has to look for that.
    holds("a claim alone", noticed("").await.is_err())?;
    store.advance(work.lease, order_id(1), to(1, OrderState::Planned)).await?;
    noticed("an advance").await?;
    store.cancel(&all(), order_id(1), at(2)).await?;
    noticed("a cancellation").await?;
    store.hand_back(work.lease, None).await?;
    noticed("what is due again").await?;
    store.touch(work.release.id, at(3)).await?;
    noticed("a wake-up").await
}

async fn prolonging_a_lease_is_no_change(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    accepted(&store, order(1, "a", "web", Apply, 1)).await?;
    let work = claimed(&store, 1).await?;
    let mut changes = store.changes();
    changes.mark_unchanged();
    store.extend(work.lease, at(40)).await?;
    let has = changes.has_changed().map_err(|error| Failed(error.to_string()))?;
    same("noticed", has, false)
}

async fn of_a_long_journal_the_newest_entries_are_handed_out(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let order = accepted(&store, order(1, "a", "web", Apply, 1)).await?;
    let work = claimed(&store, 1).await?;
    let journal = vec![("plan".to_owned(), "retry".to_owned(), None); 1_001];
    let advance = Advance { at: at(2), journal, ..Advance::default() };
    store.advance(work.lease, order.id, advance).await?;
    store.hand_back(work.lease, Some(at(3))).await?;
    let numbers: Vec<_> = claimed(&store, 3).await?.journal.into_iter().map(|entry| entry.n).collect();
    same("entries", numbers, (2..=1_001).collect())?;
    same("all of it", store.journal(&all(), order.id, 0, 2_000).await?.len(), 1_001)
}

/// A status of which nothing is as at the beginning.
fn whole_status() -> ReleaseStatus {
    ReleaseStatus {
        state: ReleaseState::Degraded,
        reason: Some("because".to_owned()),
        ready: Some(1),
        applied: Some(2),
        handed_over: true,
        keys_made: 4,
        keys_revoked: 3,
        resources: json(r#"[{"kind":"Process","name":"web","state":"failed"}]"#),
    }
}

async fn an_advance_is_whole_or_not_at_all(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let order = accepted(&store, order(1, "a", "web", Apply, 1)).await?;
    let work = claimed(&store, 1).await?;
    let entry = |step: &str, outcome: &str| (step.to_owned(), outcome.to_owned(), Some("ä".to_owned()));
    let whole = Advance {
        at: at(2),
        state: Some((OrderState::Planned, Some("because".to_owned()))),
        revision: Some(1),
        new_revision: Some(revision(&order, 1, 2)),
        status: Some(whole_status()),
        journal: vec![entry("plan", "begun"), entry("plan", "done")],
        steps: vec![step(2, "planned")],
        ..Advance::default()
    };
    for number in [0, 2, u64::MAX] {
        let wrong = Advance { new_revision: Some(revision(&order, number, 2)), ..whole.clone() };
        refused("wrong", store.advance(work.lease, order.id, wrong).await, ErrorKind::Invalid)?;
    }
    let none = store.advance(work.lease, order_id(9), whole.clone()).await;
    refused("another order", none, ErrorKind::NotFound)?;
    same("nothing", store.journal(&all(), order.id, 0, 9).await?, Vec::new())?;
    same("as it was", store.order(&all(), order.id).await?, Some(order.clone()))?;
    let planned = store.advance(work.lease, order.id, whole).await?;
    same("state", (planned.state, planned.reason.as_deref()), (OrderState::Planned, Some("because")))?;
    same("revision", (planned.revision, planned.updated_at), (Some(1), at(2)))?;
    let later = Advance {
        at: at(3),
        became_ready: Some(1),
        journal: vec![entry("apply", "begun")],
        removed: vec!["Process \"x\"".to_owned()],
        ..Advance::default()
    };
    store.advance(work.lease, order.id, later.clone()).await?;
    store.advance(work.lease, order.id, Advance { at: at(4), ..later }).await?;
    drop(store);
    let store = factory.open().await?;
    let journal = store.journal(&all(), order.id, 0, 9).await?;
    let words: Vec<String> =
        journal.iter().map(|entry| format!("{} {} {}", entry.n, entry.step, entry.outcome)).collect();
    same("journal", words.join(", "), "1 plan begun, 2 plan done, 3 apply begun, 4 apply begun".to_owned())?;
    same("a page of it", store.journal(&all(), order.id, 1, 2).await?, journal[1..3].to_vec())?;
    same("handed out", claimed(&store, 60).await?.journal, journal)?;
    let made = found(store.revision(&all(), work.release.id, 1).await?)?;
    same("the revision", made, crate::orders::Revision { ready_at: Some(at(3)), ..revision(&order, 1, 2) })?;
    let release = found(store.release(&all(), work.release.id).await?)?;
    same("the release", release.status, whole_status())?;
    same("its revisions", (release.revisions, release.updated_at), (1, at(2)))?;
    let order = found(store.order(&all(), order.id).await?)?;
    same("removed", order.removed, vec!["Process \"x\"".to_owned()])?;
    same(
        "trace",
        store.trace(&all(), order.trace.id).await?.steps,
        vec![step(1, "accepted"), step(2, "planned")],
    )
}

async fn a_finished_order_keeps_its_state(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let first = accepted(&store, order(1, "a", "web", Apply, 1)).await?;
    let work = claimed(&store, 1).await?;
    accepted(&store, order(2, "a", "web", Apply, 2)).await?;
    let told = store.untold(99).await?.len();
    let advance = Advance {
        revision: Some(1),
        new_revision: Some(revision(&first, 1, 3)),
        status: Some(status(ReleaseState::Degraded, Some(1))),
        journal: vec![("apply".to_owned(), "done".to_owned(), None)],
        ..to(3, OrderState::Ready)
    };
    store.advance(work.lease, first.id, advance).await?;
    let first = found(store.order(&all(), first.id).await?)?;
    same("state", (first.state, first.updated_at), (OrderState::Superseded, at(2)))?;
    same("nothing is told", store.untold(99).await?.len(), told)?;
    same("the rest", (first.revision, store.journal(&all(), first.id, 0, 9).await?.len()), (Some(1), 1))?;
    let release = found(store.release(&all(), work.release.id).await?)?;
    same("the release", (release.revisions, release.status.applied), (1, Some(1)))
}

async fn changes_of_state_are_told_in_order_until_they_are_told(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let first = accepted(&store, order(1, "a", "web", Apply, 1)).await?;
    let work = claimed(&store, 1).await?;
    let waiting = Advance { revision: Some(1), ..to(2, OrderState::Waiting) };
    store.advance(work.lease, first.id, waiting.clone()).await?;
    // The same state again is no change.
    store.advance(work.lease, first.id, Advance { at: at(3), ..waiting }).await?;
    accepted(&store, order(2, "a", "web", Apply, 4)).await?;
    drop(store);
    let store = factory.open().await?;
    let told = store.untold(99).await?;
    let line = |change: &crate::orders::StateChange| {
        let order = &change.order;
        (order.id, change.n, order.state, order.revision, order.updated_at)
    };
    let expected = vec![
        (order_id(1), 1, OrderState::Accepted, None, at(1)),
        (order_id(1), 2, OrderState::Waiting, Some(1), at(2)),
        (order_id(1), 3, OrderState::Superseded, Some(1), at(4)),
        (order_id(2), 1, OrderState::Accepted, None, at(4)),
    ];
    same("all", told.iter().map(line).collect::<Vec<_>>(), expected)?;
    holds("numbers grow", told.is_sorted_by(|a, b| a.seq < b.seq))?;
    same("the order as it was", &told[0].order, &first)?;
    same("some", store.untold(2).await?, told[..2].to_vec())?;
    store.told(told[1].seq).await?;
    same("the rest", store.untold(99).await?, told[2..].to_vec())?;
    store.told(told[3].seq).await?;
    same("none", store.untold(99).await?, Vec::new())?;
    accepted(&store, order(3, "a", "web", Apply, 5)).await?;
    let later = store.untold(1).await?;
    holds("never a number again", later.iter().all(|change| change.seq > told[3].seq))
}
