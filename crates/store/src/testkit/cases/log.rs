//! The delivery log.

use std::sync::Arc;
use std::time::Duration;

use orderwire_types::{EventId, Label};

use super::super::Factory;
use super::super::kit::{Outcome, all, at, client, id, objects, only, parse, same};
use super::case_list;
use crate::log::{AttemptFilter, AttemptOutcome, DeliveryAttempt, LoggedAttempt};
use crate::traits::Store;

case_list![
    attempts_come_back_newest_first_as_they_were_given,
    the_log_of_an_endpoint_is_bounded,
    attempts_are_filtered,
    attempts_outside_the_scope_are_not_there,
    attempts_go_when_they_are_old_a_piece_at_a_time,
];

const MANY: u64 = 1_000;

fn endpoint(name: &str) -> Label {
    parse(name)
}

fn attempt(n: u128, owner: &str, second: i64) -> DeliveryAttempt {
    DeliveryAttempt {
        at: at(second),
        event_id: EventId(id(n)),
        event_type: parse("shop.order.paid"),
        client: client(owner),
        trace: id(1_000 + n),
        attempt: 1,
        outcome: AttemptOutcome::Delivered,
        status: Some(204),
        detail: None,
        duration: Duration::from_micros(1_234_567),
    }
}

async fn shop(store: &Arc<dyn Store>, before: Option<u64>, max: usize) -> Outcome<Vec<LoggedAttempt>> {
    Ok(store.attempts(&all(), &endpoint("shop"), &AttemptFilter::default(), before, max).await?)
}

async fn numbers(store: &Arc<dyn Store>, name: &str) -> Outcome<Vec<u64>> {
    let found = store.attempts(&all(), &endpoint(name), &AttemptFilter::default(), None, 1_000).await?;
    Ok(found.iter().map(|logged| logged.number).collect())
}

async fn attempts_come_back_newest_first_as_they_were_given(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let failed = DeliveryAttempt {
        attempt: 7,
        outcome: AttemptOutcome::Failed,
        status: Some(410),
        detail: Some("410 Gone: \"für immer\"\n\u{0}".to_owned()),
        ..attempt(2, "b", 0)
    };
    let broken = DeliveryAttempt {
        outcome: AttemptOutcome::Retry,
        status: None,
        detail: Some("no answer within 10s".to_owned()),
        duration: Duration::ZERO,
        ..attempt(3, "a", 9)
    };
    store.log_attempts(&endpoint("shop"), &[attempt(1, "a", 5), failed.clone()], MANY).await?;
    store.log_attempts(&endpoint("other"), &[attempt(4, "a", 6)], MANY).await?;
    store.log_attempts(&endpoint("shop"), std::slice::from_ref(&broken), MANY).await?;
    drop(store);
    let store = factory.open().await?;
    let found = shop(&store, None, 10).await?;
    let given: Vec<_> = found.iter().map(|logged| logged.attempt.clone()).collect();
    same("attempts", given, vec![broken, failed, attempt(1, "a", 5)])?;
    let [newest, middle, oldest] = [0, 1, 2].map(|i| found[i].number);
    same("numbers", (newest - middle, middle - oldest), (1, 1))?;
    let page = shop(&store, Some(newest), 1).await?;
    same("a page", page.first().map(|logged| logged.number), Some(middle))?;
    same("the end", shop(&store, Some(oldest), 10).await?, Vec::new())?;
    same("an endpoint without any", numbers(&store, "none").await?, Vec::new())
}

async fn the_log_of_an_endpoint_is_bounded(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    store.log_attempts(&endpoint("other"), &[attempt(9, "a", 0)], 3).await?;
    for n in 0..4 {
        let two = [attempt(2 * n, "a", 0), attempt(2 * n + 1, "a", 0)];
        store.log_attempts(&endpoint("shop"), &two, 3).await?;
    }
    let found = shop(&store, None, 10).await?;
    let events: Vec<_> = found.iter().map(|logged| logged.attempt.event_id).collect();
    same("the newest", events, [7, 6, 5].map(|n| EventId(id(n))).to_vec())?;
    let more: Vec<_> = (10..20).map(|n| attempt(n, "a", 0)).collect();
    store.log_attempts(&endpoint("shop"), &more, 3).await?;
    same("of more than are kept", numbers(&store, "shop").await?.len(), 3)?;
    same("of another endpoint", numbers(&store, "other").await?.len(), 1)
}

async fn attempts_are_filtered(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let retry = |n, owner| DeliveryAttempt { outcome: AttemptOutcome::Retry, ..attempt(n, owner, 0) };
    let attempts = [attempt(1, "a", 0), retry(2, "a"), attempt(3, "b", 0), retry(4, "b"), retry(2, "a")];
    store.log_attempts(&endpoint("shop"), &attempts, MANY).await?;
    for (what, filter, expected) in [
        ("a client", AttemptFilter { client: Some(client("a")), ..AttemptFilter::default() }, vec![2, 2, 1]),
        (
            "an outcome",
            AttemptFilter { outcome: Some(AttemptOutcome::Retry), ..AttemptFilter::default() },
            vec![2, 4, 2],
        ),
        (
            "an event",
            AttemptFilter { event_id: Some(EventId(id(2))), ..AttemptFilter::default() },
            vec![2, 2],
        ),
        (
            "all of them",
            AttemptFilter {
                client: Some(client("b")),
                event_id: Some(EventId(id(3))),
                outcome: Some(AttemptOutcome::Delivered),
            },
            vec![3],
        ),
    ] {
        let found = store.attempts(&all(), &endpoint("shop"), &filter, None, 10).await?;
        let events: Vec<u128> = found.iter().map(|logged| logged.attempt.event_id.0.as_u128()).collect();
        same(what, events, expected)?;
    }
    let filter = AttemptFilter { client: Some(client("a")), ..AttemptFilter::default() };
    let page = store.attempts(&all(), &endpoint("shop"), &filter, None, 2).await?;
    same("a page is full of what matches", page.len(), 2)
}

async fn attempts_outside_the_scope_are_not_there(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let attempts = [attempt(1, "a", 0), attempt(2, "b", 0), attempt(3, "a", 0)];
    store.log_attempts(&endpoint("shop"), &attempts, MANY).await?;
    let none = AttemptFilter::default();
    let other = AttemptFilter { client: Some(client("b")), ..AttemptFilter::default() };
    for (what, scope, filter, expected) in [
        ("all", all(), &none, 3),
        ("one client", only(&["a"]), &none, 2),
        ("two clients", only(&["a", "b"]), &none, 3),
        ("another client", only(&["a"]), &other, 0),
        ("no client", only(&[]), &none, 0),
        ("its object", objects(&["queue/forward-shop"]), &none, 3),
        ("another object", objects(&["queue/forward-other", "queue/shop"]), &none, 0),
    ] {
        same(what, store.attempts(&scope, &endpoint("shop"), filter, None, 10).await?.len(), expected)?;
    }
    Ok(())
}

async fn attempts_go_when_they_are_old_a_piece_at_a_time(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let attempts: Vec<_> = (0..6).map(|n| attempt(1, "a", n * 10)).collect();
    store.log_attempts(&endpoint("shop"), &attempts, MANY).await?;
    store.log_attempts(&endpoint("other"), &attempts[..2], MANY).await?;
    let mut pieces = Vec::new();
    for _ in 0..4 {
        pieces.push(store.sweep_attempts(at(30), 3).await?);
    }
    same("pieces", pieces, vec![3, 2, 0, 0])?;
    drop(store);
    let store = factory.open().await?;
    let left = numbers(&store, "shop").await?;
    same("what is left", (left.len(), numbers(&store, "other").await?.len()), (3, 0))?;
    store.log_attempts(&endpoint("shop"), &[attempt(2, "a", 90)], MANY).await?;
    same(
        "the next number",
        numbers(&store, "shop").await?.first(),
        left.first().map(|last| last + 1).as_ref(),
    )
}
