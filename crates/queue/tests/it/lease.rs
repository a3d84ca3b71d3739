use std::time::Duration;

use orderwire_queue::engine::Settled;
use orderwire_queue::{ErrorKind, Publication, Settlement};
use tokio::time::Instant;

use crate::bench::{Bench, ROLE, SECOND, all, kind, name, only, request, shown};

#[tokio::test(start_paused = true)]
async fn a_waiting_consumer_is_woken_at_once() {
    let bench = Bench::open().await;
    let consumer = bench.wait_for_one(all());
    tokio::task::yield_now().await;
    let begin = Instant::now();
    bench.put("a").await;
    assert_eq!(shown(&consumer.await.unwrap().unwrap()), [("a".to_owned(), 1)]);
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_nothing_after_its_time() {
    let bench = Bench::open().await;
    let begin = Instant::now();
    assert_eq!(bench.wait_for_one(all()).await.unwrap().unwrap().len(), 0);
    assert_eq!(begin.elapsed(), 60 * SECOND);
    // Waiting is no polling: one look at the beginning, and the sweep.
    let commits = bench.engine.commits().len();
    assert!(commits <= 4, "{commits} commits");
}

#[tokio::test(start_paused = true)]
async fn one_commit_wakes_as_many_consumers_as_it_has_work_for() {
    let bench = Bench::open().await;
    let consumers: Vec<_> = (0..8).map(|_| bench.wait_for_one(all())).collect();
    tokio::task::yield_now().await;
    let begin = Instant::now();
    let events = (0..8).map(|i| bench.event("task.do", "acme", &format!("e{i}"))).collect();
    bench.publish(events).await.unwrap();
    let mut got = Vec::new();
    for consumer in consumers {
        got.extend(shown(&consumer.await.unwrap().unwrap()));
    }
    assert_eq!(begin.elapsed(), Duration::ZERO);
    let due: Vec<_> = (0..8).map(|i| (format!("e{i}"), 1)).collect();
    assert_eq!(got, due, "the first in line gets the first event");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_of_one_client_does_not_keep_others_from_theirs() {
    let bench = Bench::open().await;
    let (a, b, c) = (
        bench.wait_for_one(only("acme")),
        bench.wait_for_one(only("bolt")),
        bench.wait_for_one(only("cord")),
    );
    tokio::task::yield_now().await;
    let begin = Instant::now();
    for client in ["cord", "bolt", "acme"] {
        bench.publish(vec![bench.event("task.do", client, client)]).await.unwrap();
    }
    for (consumer, client) in [(a, "acme"), (b, "bolt"), (c, "cord")] {
        assert_eq!(shown(&consumer.await.unwrap().unwrap()), [(client.to_owned(), 1)]);
    }
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn deliveries_of_a_consumer_that_left_go_to_the_next_uncounted() {
    let bench = Bench::open().await;
    bench.put("a").await;
    let before = bench.engine.commits().len();
    bench.engine.hold();
    let gone = bench.wait_for_one(all());
    bench.engine.until_commits(before + 1).await;
    // Its claim is being committed now.
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    let next = bench.wait_for_one(all());
    tokio::task::yield_now().await;
    let begin = Instant::now();
    bench.engine.release();
    assert_eq!(shown(&next.await.unwrap().unwrap()), [("a".to_owned(), 1)]);
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_left_before_its_commit_claims_nothing() {
    let bench = Bench::open().await;
    let before = bench.engine.commits().len();
    bench.engine.hold();
    let (queues, event) = (bench.queues.clone(), bench.event("task.do", "acme", "a"));
    let publisher = tokio::spawn(async move { queues.publish(&all(), Publication::of(event)).await });
    bench.engine.until_commits(before + 1).await;
    let (gone, next) = (bench.wait_for_one(all()), bench.wait_for_one(all()));
    tokio::task::yield_now().await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    bench.engine.release();
    publisher.await.unwrap().unwrap();
    assert_eq!(shown(&next.await.unwrap().unwrap()), [("a".to_owned(), 1)]);
    assert_eq!(bench.engine.commits()[before..], [1, 1], "the publish, and one claim");
}

#[tokio::test(start_paused = true)]
async fn an_expired_lease_wakes_whoever_waits() {
    let bench = Bench::open().await;
    bench.put("a").await;
    let got = bench.take(1).await;
    let consumer = bench.wait_for_one(all());
    tokio::task::yield_now().await;
    bench.clock.advance(31 * SECOND);
    assert_eq!(shown(&consumer.await.unwrap().unwrap()), [("a".to_owned(), 2)]);
    let late = bench.queues.settle(&all(), &name("tasks"), got[0].id, Settlement::Ack).await;
    assert_eq!(kind(late), Some(ErrorKind::LeaseLost));
}

#[tokio::test(start_paused = true)]
async fn a_delayed_delivery_wakes_whoever_waits_when_its_time_has_come() {
    let bench = Bench::open().await;
    bench.put("a").await;
    let got = bench.take(1).await;
    let nacked =
        bench.queues.nack(&all(), &name("tasks"), &[got[0].id], Some(5 * SECOND), "busy").await.unwrap();
    assert_eq!(nacked[0].as_ref().unwrap(), &Settled::Returned(5 * SECOND));
    let consumer = bench.wait_for_one(all());
    tokio::task::yield_now().await;
    bench.clock.advance(4 * SECOND);
    tokio::task::yield_now().await;
    assert!(!consumer.is_finished());
    bench.clock.advance(SECOND);
    assert_eq!(shown(&consumer.await.unwrap().unwrap()), [("a".to_owned(), 2)]);
}

#[tokio::test(start_paused = true)]
async fn settlements_are_answered_one_by_one() {
    let bench = Bench::open().await;
    bench.put("a").await;
    bench.put("b").await;
    let got = bench.take(2).await;
    let tasks = name("tasks");
    let ids: Vec<_> = got.iter().map(|delivery| delivery.id).collect();
    let acked = bench.queues.ack(&all(), &tasks, &[ids[0], ids[0], ids[1]]).await.unwrap();
    let kinds: Vec<_> = acked.into_iter().map(kind).collect();
    assert_eq!(kinds, [None, Some(ErrorKind::LeaseLost), None]);
    assert_eq!(bench.state("tasks").await.in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn nacking_successive_deliveries_counts_the_first_only() {
    let bench = Bench::open().await;
    let event = |label: &str| {
        let mut event = bench.event("task.do", "acme", label);
        event.event.key = None;
        event
    };
    bench.publish(vec![event("a"), event("b"), event("c")]).await.unwrap();
    let got = bench.take(3).await;
    // Named in any order.
    let ids = [got[2].id, got[0].id, got[1].id];
    let nacked = bench.queues.nack(&all(), &name("tasks"), &ids, Some(Duration::ZERO), "no").await.unwrap();
    assert!(nacked.iter().all(Result::is_ok), "{nacked:?}");
    let due = [("a".to_owned(), 2), ("b".to_owned(), 1), ("c".to_owned(), 1)];
    assert_eq!(shown(&bench.take(3).await), due);
}

#[tokio::test(start_paused = true)]
async fn an_extension_holds_and_long_leases_are_cut() {
    let bench = Bench::open().await;
    bench.put("a").await;
    let got = bench.take(1).await;
    let tasks = name("tasks");
    bench.clock.advance(20 * SECOND);
    let extended = bench.queues.extend(&all(), &tasks, &[got[0].id], 3 * 3_600 * SECOND).await.unwrap();
    assert!(extended[0].is_ok());
    // An hour is the longest.
    bench.clock.advance(3_599 * SECOND);
    assert_eq!(bench.take(1).await.len(), 0);
    bench.clock.advance(SECOND);
    assert_eq!(shown(&bench.wait_for_one(all()).await.unwrap().unwrap()), [("a".to_owned(), 2)]);
}

#[tokio::test(start_paused = true)]
async fn the_queue_of_a_worker_is_the_workers() {
    let bench = Bench::open().await;
    bench.publish(vec![bench.event("row.put", "acme", "a")]).await.unwrap();
    let (rows, now) = (name("rows"), request(1, Duration::ZERO));
    assert_eq!(kind(bench.queues.lease(&all(), &rows, now).await), Some(ErrorKind::Conflict));
    assert_eq!(kind(bench.queues.lease_for_worker("notifier", &rows, now).await), Some(ErrorKind::Conflict));
    let got = bench.queues.lease_for_worker(ROLE, &rows, now).await.unwrap();
    assert_eq!(got.len(), 1);
    // Ids can be guessed.
    let guessed = bench.queues.ack(&all(), &rows, &[got[0].id]).await;
    assert_eq!(kind(guessed), Some(ErrorKind::Conflict));
    let extended = bench.queues.extend(&all(), &rows, &[got[0].id], SECOND).await;
    assert_eq!(kind(extended), Some(ErrorKind::Conflict));
    assert_eq!(bench.queues.peek(&all(), &rows, 5).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn waits_end_at_once_when_nobody_may_wait_any_more() {
    let bench = Bench::open().await;
    let consumer = bench.wait_for_one(all());
    let queues = bench.queues.clone();
    let reader = tokio::spawn(async move {
        queues.read(&name("rows"), orderwire_queue::Position(0), 9, 1 << 20, 60 * SECOND).await
    });
    tokio::task::yield_now().await;
    let begin = Instant::now();
    bench.queues.stop_waiting();
    bench.queues.stop_waiting();
    assert_eq!(consumer.await.unwrap().unwrap().len(), 0);
    assert_eq!(reader.await.unwrap().unwrap().len(), 0);
    assert_eq!(bench.wait_for_one(all()).await.unwrap().unwrap().len(), 0, "nor does one that comes later");
    assert_eq!(begin.elapsed(), Duration::ZERO);
    // Everything else goes on.
    bench.put("a").await;
    assert_eq!(shown(&bench.take(1).await), [("a".to_owned(), 1)]);
}
