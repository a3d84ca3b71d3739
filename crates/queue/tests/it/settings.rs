use std::time::Duration;

use orderwire_queue::testkit::def;
use orderwire_queue::{ErrorKind, QueueState};
use orderwire_types::queue::Kind;

use crate::bench::{Bench, ROLE, all, kind, name, only, request};

#[tokio::test(start_paused = true)]
async fn what_is_outside_the_scope_does_not_exist() {
    let bench = Bench::open().await;
    bench.put("a").await;
    let (tasks, now) = (name("tasks"), request(1, Duration::ZERO));
    let mut elsewhere = all();
    elsewhere.objects = Some(["queue/status".to_owned()].into());
    let queues = &bench.queues;
    for refused in [
        kind(queues.lease(&elsewhere, &tasks, now).await),
        kind(queues.peek(&elsewhere, &tasks, 1).await),
        kind(queues.state(&elsewhere, &tasks).await),
        kind(queues.pause(&elsewhere, &tasks, true).await),
        kind(queues.ack(&elsewhere, &tasks, &[]).await),
        kind(queues.declare(&elsewhere, &name("own"), def(Kind::Task, "own")).await),
        // Of whole queues, to a caller of one client.
        kind(queues.state(&only("acme"), &tasks).await),
        kind(queues.pause(&only("acme"), &tasks, true).await),
        kind(queues.declare(&only("acme"), &name("own"), def(Kind::Task, "own")).await),
        kind(queues.lease(&all(), &name("missing"), now).await),
    ] {
        assert_eq!(refused, Some(ErrorKind::NotFound));
    }
    let names = |states: Vec<QueueState>| -> Vec<_> { states.into_iter().map(|state| state.name).collect() };
    assert_eq!(names(queues.states(&elsewhere).await.unwrap()), [name("status")]);
    assert_eq!(names(queues.states(&all()).await.unwrap()), [name("rows"), name("status"), name("tasks")]);
    assert_eq!(names(queues.states(&only("acme")).await.unwrap()), []);
    assert_eq!(queues.peek(&only("bolt"), &tasks, 1).await.unwrap().len(), 0);
    assert_eq!(queues.peek(&only("acme"), &tasks, 1).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_queue_has_its_alias() {
    let bench = Bench::open().await;
    assert_eq!(bench.state("event-status").await.name, name("status"));
    bench.publish(vec![bench.event("task.status", "acme", "a")]).await.unwrap();
    let got = bench.queues.lease(&all(), &name("event-status"), request(1, Duration::ZERO)).await.unwrap();
    let acked = bench.queues.ack(&all(), &name("event-status"), &[got[0].id]).await.unwrap();
    assert!(acked[0].is_ok());
    assert_eq!(bench.queues.worker(&name("rows")), Some(ROLE));
    assert_eq!(bench.queues.worker(&name("event-status")), None);
}

#[tokio::test(start_paused = true)]
async fn a_declared_queue_takes_events_from_then_on() {
    let bench = Bench::open().await;
    let event = || bench.event("own.event", "acme", "a");
    assert_eq!(kind(bench.publish(vec![event()]).await), Some(ErrorKind::Unroutable));
    bench.queues.declare(&all(), &name("own"), def(Kind::Task, "own.#")).await.unwrap();
    assert_eq!(bench.publish(vec![event()]).await.unwrap().events[0].queues, [name("own")]);
    bench.queues.declare(&all(), &name("own"), def(Kind::Task, "other.#")).await.unwrap();
    assert_eq!(kind(bench.publish(vec![event()]).await), Some(ErrorKind::Unroutable));
    assert_eq!(bench.state("own").await.ready, 1);
    let other_kind = bench.queues.declare(&all(), &name("own"), def(Kind::Stream, "own.#")).await;
    assert_eq!(kind(other_kind), Some(ErrorKind::Conflict));
    let configured = bench.queues.declare(&all(), &name("tasks"), def(Kind::Task, "own.#")).await;
    assert_eq!(kind(configured), Some(ErrorKind::Conflict));
    assert_eq!(bench.queues.definition(&all(), &name("own")).unwrap().types, ["other.#".parse().unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn a_paused_queue_hands_out_nothing_until_it_is_resumed() {
    let bench = Bench::open().await;
    bench.queues.pause(&all(), &name("tasks"), true).await.unwrap();
    bench.put("a").await;
    let consumer = bench.wait_for_one(all());
    tokio::task::yield_now().await;
    assert!(bench.state("tasks").await.paused);
    let begin = tokio::time::Instant::now();
    bench.queues.pause(&all(), &name("tasks"), false).await.unwrap();
    assert_eq!(consumer.await.unwrap().unwrap().len(), 1);
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_paused_stream_gives_its_worker_nothing_until_it_is_resumed() {
    let bench = Bench::open().await;
    let rows = name("rows");
    bench.queues.pause(&all(), &rows, true).await.unwrap();
    bench.publish(vec![bench.event("row.put", "acme", "a")]).await.unwrap();
    let read = |wait| {
        let (queues, rows) = (bench.queues.clone(), rows.clone());
        tokio::spawn(async move { queues.read(&rows, orderwire_queue::Position(0), 9, 1 << 20, wait).await })
    };
    assert_eq!(read(Duration::ZERO).await.unwrap().unwrap().len(), 0);
    let waiting = read(Duration::from_secs(60));
    tokio::task::yield_now().await;
    let begin = tokio::time::Instant::now();
    bench.queues.pause(&all(), &rows, false).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().len(), 1);
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_handed_out_to_consumers_of_all_clients_only() {
    let bench = Bench::open().await;
    bench.queues.declare(&all(), &name("audit"), def(Kind::Stream, "audit.#")).await.unwrap();
    bench.publish(vec![bench.event("audit.a", "acme", "a")]).await.unwrap();
    let (audit, now) = (name("audit"), request(1, Duration::ZERO));
    assert_eq!(kind(bench.queues.lease(&only("acme"), &audit, now).await), Some(ErrorKind::Conflict));
    assert_eq!(bench.queues.lease(&all(), &audit, now).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_trace_is_told_within_the_scope() {
    let bench = Bench::open().await;
    let event = bench.event("task.do", "acme", "a");
    let trace = event.event.trace.id;
    bench.publish(vec![event]).await.unwrap();
    assert_eq!(bench.queues.trace(&only("acme"), trace).await.unwrap().steps.len(), 2);
    assert_eq!(bench.queues.trace(&only("bolt"), trace).await.unwrap().steps.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_pause_or_its_end_is_woken() {
    let bench = Bench::open().await;
    // Before the figures are looked at, which would tell it as well.
    let (tasks, patience) = (name("tasks"), Duration::from_secs(1));
    let until = |paused| {
        let (queues, tasks) = (bench.queues.clone(), tasks.clone());
        async move { tokio::time::timeout(patience, queues.until_paused(&tasks, paused)).await.is_ok() }
    };
    assert!(until(false).await, "at once");
    assert!(!until(true).await, "nobody paused it");
    let waiter = tokio::spawn(until(true));
    tokio::task::yield_now().await;
    bench.queues.pause(&all(), &tasks, true).await.unwrap();
    assert!(waiter.await.unwrap() && !until(false).await);
    let waiter = tokio::spawn(until(false));
    tokio::task::yield_now().await;
    bench.queues.pause(&all(), &tasks, false).await.unwrap();
    assert!(waiter.await.unwrap());
    assert_eq!(kind(bench.queues.until_paused(&name("missing"), true).await), Some(ErrorKind::NotFound));
}

#[tokio::test(start_paused = true)]
async fn a_pause_by_another_process_or_before_the_start_is_noticed() {
    let bench = Bench::open().await;
    let other = bench.beside().await;
    let until = |paused| {
        let queues = other.queues.clone();
        async move {
            let until = queues.until_paused(&name("tasks"), paused).await;
            until.unwrap();
        }
    };
    let begin = tokio::time::Instant::now();
    bench.queues.pause(&all(), &name("tasks"), true).await.unwrap();
    until(true).await;
    bench.queues.pause(&all(), &name("tasks"), false).await.unwrap();
    until(false).await;
    let most = 3 * orderwire_queue::Options::for_testing().figures_every;
    assert!(begin.elapsed() <= most, "{:?}", begin.elapsed());
    bench.queues.pause(&all(), &name("tasks"), true).await.unwrap();
    let begin = tokio::time::Instant::now();
    let later = bench.beside().await;
    later.queues.until_paused(&name("tasks"), true).await.unwrap();
    assert_eq!(begin.elapsed(), Duration::ZERO);
}
