//! Consumers that stay.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use orderwire_queue::{Arrived, Consumer, Delivery, ErrorKind, Options, Settlement};
use orderwire_types::Event;
use tokio::time::Instant;

use crate::bench::{Bench, SECOND, all, kind, name, only, shown};

/// More than anybody asks for here.
const PLENTY: usize = 1_000;

async fn open() -> (Bench, Consumer) {
    let bench = Bench::open().await;
    let consumer = bench.queues.consumer(&Arc::new(all()), &name("tasks"), 30 * SECOND).unwrap();
    (bench, consumer)
}

/// Publishes events of the client `acme` on one lane.
async fn put_on_one_lane(bench: &Bench, labels: &[&str]) {
    let event = |label: &&str| {
        let mut event = bench.event("task.do", "acme", label);
        event.event.key = Some("one".to_owned());
        event
    };
    bench.publish(labels.iter().map(event).collect()).await.unwrap();
}

/// The next delivery, which comes without any time passing.
async fn next(consumer: &mut Consumer, max: usize) -> Delivery {
    let begin = Instant::now();
    let delivery = consumer.next(max, PLENTY).await.unwrap().unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO);
    delivery
}

/// That nothing comes, however long everything else has to do.
async fn nothing(consumer: &mut Consumer, max: usize) {
    let waits = tokio::time::timeout(Duration::from_millis(1), consumer.next(max, PLENTY)).await;
    assert!(waits.is_err(), "{:?}", waits.unwrap().unwrap());
}

fn label(delivery: &Delivery) -> (String, u32) {
    (Event::decode(&delivery.body).unwrap().source, delivery.attempt)
}

async fn ack(bench: &Bench, delivery: &Delivery) {
    let settled = bench.queues.settle(&all(), &name("tasks"), delivery.id, Settlement::Ack).await;
    settled.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_makes_room_at_once() {
    let (bench, mut consumer) = open().await;
    for label in ["a", "b", "c", "d"] {
        bench.put(label).await;
    }
    let a = next(&mut consumer, 2).await;
    let b = next(&mut consumer, 2).await;
    assert_eq!((label(&a), label(&b)), (("a".to_owned(), 1), ("b".to_owned(), 1)));
    nothing(&mut consumer, 2).await;
    let state = bench.state("tasks").await;
    assert_eq!((state.in_flight, state.ready), (2, 2), "nothing is taken that is not handed out");
    ack(&bench, &b).await;
    assert_eq!(label(&next(&mut consumer, 2).await).0, "c");
    nothing(&mut consumer, 2).await;
    bench.queues.fail(&all(), &name("tasks"), &[a.id], "no").await.unwrap();
    assert_eq!(label(&next(&mut consumer, 2).await).0, "d");
    assert_eq!(consumer.unsettled(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_goes_on_with_the_key_that_it_holds() {
    let (bench, mut consumer) = open().await;
    put_on_one_lane(&bench, &["a", "b", "c", "d", "e"]).await;
    let mut held = Vec::new();
    for due in ["a", "b", "c"] {
        held.push(next(&mut consumer, 3).await);
        assert_eq!(label(&held[held.len() - 1]).0, due);
    }
    nothing(&mut consumer, 3).await;
    assert_eq!(bench.take(5).await.len(), 0, "the key is nobody else's");
    for (settled, due) in [(1, "d"), (0, "e")] {
        ack(&bench, &held[settled]).await;
        assert_eq!(label(&next(&mut consumer, 3).await), (due.to_owned(), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_arrives_behind_what_is_held_is_handed_out_at_once() {
    let (bench, mut consumer) = open().await;
    for label in ["a", "b", "c"] {
        put_on_one_lane(&bench, &[label]).await;
        assert_eq!(self::label(&next(&mut consumer, 9).await).0, label);
    }
    // And while it waits already.
    let begin = Instant::now();
    let waits = tokio::spawn(async move { consumer.next(9, PLENTY).await.unwrap().unwrap() });
    // tidy: sleep because time is paused: it passes once everything else waits
    tokio::time::sleep(Duration::from_millis(1)).await;
    put_on_one_lane(&bench, &["d"]).await;
    assert_eq!(label(&waits.await.unwrap()).0, "d");
    assert_eq!(begin.elapsed(), Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn what_a_broker_brings_behind_what_is_held_is_handed_out_at_once() {
    let (bench, mut consumer) = open().await;
    put_on_one_lane(&bench, &["a"]).await;
    next(&mut consumer, 9).await;
    let begin = Instant::now();
    let waits = tokio::spawn(async move { consumer.next(9, PLENTY).await.unwrap().unwrap() });
    // tidy: sleep because time is paused: it passes once everything else waits
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut incoming = bench.event("task.do", "acme", "b");
    incoming.event.key = Some("one".to_owned());
    let arrived = Arrived { incoming, rejected: None };
    bench.queues.arrive(&name("tasks"), &[arrived]).await.unwrap();
    assert_eq!(label(&waits.await.unwrap()).0, "b");
    assert_eq!(begin.elapsed(), Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn no_more_is_taken_than_there_is_credit_for() {
    let (bench, mut consumer) = open().await;
    for label in ["a", "b", "c", "d"] {
        bench.put(label).await;
    }
    assert_eq!(label(&consumer.next(PLENTY, 2).await.unwrap().unwrap()).0, "a");
    assert_eq!(label(&consumer.next(PLENTY, 1).await.unwrap().unwrap()).0, "b");
    let state = bench.state("tasks").await;
    assert_eq!((state.in_flight, state.ready), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_dropped_returns_what_it_was_not_handed() {
    let (bench, mut consumer) = open().await;
    for label in ["a", "b", "c"] {
        bench.put(label).await;
    }
    assert_eq!(label(&next(&mut consumer, 9).await).0, "a");
    assert_eq!(bench.state("tasks").await.in_flight, 3);
    drop(consumer);
    let returned = shown(&bench.take(9).await);
    assert_eq!(returned, [("b".to_owned(), 1), ("c".to_owned(), 1)], "as if they never had been leased");
    // The consumer may have the first one, and settle it yet.
    bench.clock.advance(31 * SECOND);
    let waits = bench.wait_for_one(all());
    assert_eq!(shown(&waits.await.unwrap().unwrap()), [("a".to_owned(), 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_dropped_while_it_claims_returns_that() {
    let (bench, mut consumer) = open().await;
    bench.put("a").await;
    let before = bench.engine.commits().len();
    bench.engine.hold();
    assert!(consumer.next(9, PLENTY).now_or_never().is_none());
    bench.engine.until_commits(before + 1).await;
    drop(consumer);
    let waits = bench.wait_for_one(all());
    tokio::task::yield_now().await;
    bench.engine.release();
    assert_eq!(shown(&waits.await.unwrap().unwrap()), [("a".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_loses_nothing() {
    let (bench, mut consumer) = open().await;
    for round in 0..50 {
        // Dropped at any moment of its work.
        for _ in 0..round % 7 {
            assert!(consumer.next(9, PLENTY).now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        let label = round.to_string();
        bench.put(&label).await;
        let delivery = next(&mut consumer, 9).await;
        assert_eq!(self::label(&delivery), (label, 1));
        ack(&bench, &delivery).await;
    }
    assert_eq!(consumer.unsettled(), 0);
}

#[tokio::test(start_paused = true)]
async fn of_what_is_given_back_only_what_was_handed_out_first_was_an_attempt() {
    let (bench, mut consumer) = open().await;
    for label in ["a", "b", "c", "d"] {
        bench.put(label).await;
    }
    let a = next(&mut consumer, 3).await;
    for _ in 0..2 {
        next(&mut consumer, 3).await;
    }
    ack(&bench, &a).await;
    next(&mut consumer, 3).await;
    consumer.give_back("gone").await;
    assert_eq!(
        shown(&bench.take(9).await),
        [("c".to_owned(), 1), ("d".to_owned(), 1)],
        "as if they never had been leased"
    );
    bench.clock.advance(SECOND);
    let rest = bench.wait_for_one(all()).await.unwrap().unwrap();
    assert_eq!(shown(&rest), [("b".to_owned(), 2)], "what may have ended the consumer");
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_of_one_key_comes_in_order() {
    let (bench, mut consumer) = open().await;
    put_on_one_lane(&bench, &["a", "b", "c"]).await;
    bench.put("d").await;
    next(&mut consumer, 9).await;
    next(&mut consumer, 9).await;
    consumer.give_back("gone").await;
    assert_eq!(shown(&bench.take(9).await), [("d".to_owned(), 1)], "the key waits for its next attempt");
    bench.clock.advance(SECOND);
    let rest = bench.wait_for_one(all()).await.unwrap().unwrap();
    assert_eq!(shown(&rest), [("a".to_owned(), 2)]);
    ack(&bench, &rest[0]).await;
    assert_eq!(shown(&bench.take(9).await), [("b".to_owned(), 1), ("c".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn what_a_nack_takes_along_is_not_handed_out_before_it() {
    let (bench, mut consumer) = open().await;
    put_on_one_lane(&bench, &["a", "b", "c"]).await;
    let a = next(&mut consumer, 9).await;
    bench.queues.nack(&all(), &name("tasks"), &[a.id], Some(5 * SECOND), "busy").await.unwrap();
    assert_eq!(consumer.unsettled(), 0);
    nothing(&mut consumer, 9).await;
    bench.clock.advance(5 * SECOND);
    for due in [("a", 2), ("b", 1), ("c", 1)] {
        assert_eq!(label(&next(&mut consumer, 9).await), (due.0.to_owned(), due.1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_runs_out_makes_room_and_an_extended_one_does_not() {
    let (bench, mut consumer) = open().await;
    bench.put("a").await;
    let a = next(&mut consumer, 1).await;
    bench.put("b").await;
    bench.clock.advance(20 * SECOND);
    bench.queues.extend(&all(), &name("tasks"), &[a.id], 30 * SECOND).await.unwrap();
    bench.clock.advance(20 * SECOND);
    nothing(&mut consumer, 1).await;
    bench.clock.advance(11 * SECOND);
    let mut rest = Vec::new();
    for _ in 0..2 {
        let delivery = next(&mut consumer, 1).await;
        ack(&bench, &delivery).await;
        rest.push(label(&delivery));
    }
    rest.sort();
    assert_eq!(rest, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn two_rounds_of_silence_end_it() {
    let (bench, mut consumer) = open().await;
    bench.put("a").await;
    let first = next(&mut consumer, 1).await;
    bench.clock.advance(31 * SECOND);
    next(&mut consumer, 1).await;
    let late = bench.queues.settle(&all(), &name("tasks"), first.id, Settlement::Ack).await;
    assert_eq!(kind(late), Some(ErrorKind::LeaseLost));
    // Nor did the consumer settle the second one in time.
    bench.clock.advance(31 * SECOND);
    let silent = consumer.next(1, PLENTY).await;
    assert_eq!(kind(silent), Some(ErrorKind::LeaseLost));
    drop(consumer);
    let other = bench.wait_for_one(all()).await.unwrap().unwrap();
    assert_eq!(shown(&other), [("a".to_owned(), 3)], "the last attempt is left for others");
}

#[tokio::test(start_paused = true)]
async fn those_that_follow_do_not_keep_a_forgotten_one_alive() {
    let (bench, mut consumer) = open().await;
    put_on_one_lane(&bench, &["a", "b", "c", "d", "e"]).await;
    next(&mut consumer, 2).await;
    let mut last = next(&mut consumer, 2).await;
    for due in ["c", "d"] {
        bench.clock.advance(12 * SECOND);
        ack(&bench, &last).await;
        last = next(&mut consumer, 2).await;
        assert_eq!(label(&last).0, due);
    }
    // The first one had its time: nothing follows it any more, until its lease ran out.
    bench.clock.advance(12 * SECOND);
    ack(&bench, &last).await;
    nothing(&mut consumer, 2).await;
    bench.clock.advance(20 * SECOND);
    assert_eq!(label(&next(&mut consumer, 2).await), ("a".to_owned(), 2));
}

#[tokio::test(start_paused = true)]
async fn consumers_are_served_in_turn() {
    let (bench, mut one) = open().await;
    let mut two = bench.queues.consumer(&Arc::new(all()), &name("tasks"), 30 * SECOND).unwrap();
    nothing(&mut one, 1).await;
    nothing(&mut two, 1).await;
    bench.put("a").await;
    bench.put("b").await;
    let a = next(&mut one, 1).await;
    assert_eq!(label(&a).0, "a");
    assert_eq!(label(&next(&mut two, 1).await).0, "b");
    bench.put("c").await;
    nothing(&mut two, 1).await;
    ack(&bench, &a).await;
    assert_eq!(label(&next(&mut one, 1).await).0, "c");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_is_let_in_as_a_lease_is() {
    let bench = Bench::with(Options::for_testing()).await;
    let consumer = |scope, queue| bench.queues.consumer(&Arc::new(scope), &name(queue), SECOND);
    assert_eq!(kind(consumer(all(), "rows")), Some(ErrorKind::Conflict), "the queue of a worker");
    assert_eq!(kind(consumer(all(), "nothing")), Some(ErrorKind::NotFound));
    let mut of_bolt = consumer(only("bolt"), "tasks").unwrap();
    bench.put("a").await;
    nothing(&mut of_bolt, 9).await;
    bench.publish(vec![bench.event("task.do", "bolt", "b")]).await.unwrap();
    assert_eq!(label(&next(&mut of_bolt, 9).await).0, "b");
    let closed = of_bolt.closed();
    bench.queues.stop_waiting();
    closed.await;
    assert!(of_bolt.next(9, PLENTY).await.unwrap().is_none());
    assert_eq!(kind(consumer(all(), "tasks")), Some(ErrorKind::Unavailable), "when the server goes down");
}
