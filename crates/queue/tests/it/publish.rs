use std::time::Duration;

use orderwire_queue::{ErrorKind, NamedRequest, Options, Publication};
use uuid::Uuid;

use crate::bench::{Bench, ROLE, all, kind, name, only, request, shown};

#[tokio::test(start_paused = true)]
async fn an_event_goes_to_every_queue_that_takes_it() {
    let bench = Bench::open().await;
    let events = vec![bench.event("task.status", "acme", "a"), bench.event("row.put", "acme", "b")];
    let published = bench.publish(events.clone()).await.unwrap();
    let queues: Vec<Vec<_>> = published.events.iter().map(|event| event.queues.clone()).collect();
    assert_eq!(queues, [vec![name("status"), name("tasks")], vec![name("rows")]]);
    assert_eq!(published.events[0].event_id, events[0].event.id);
    assert_eq!(published.events[0].trace, events[0].event.trace);
    assert!(!published.events[0].duplicate);
    assert_eq!(shown(&bench.take(5).await), [("a".to_owned(), 1)]);
    assert_eq!((bench.state("status").await.ready, bench.state("rows").await.ready), (1, 1));
    assert_eq!(bench.queues.route(&"task.status".parse().unwrap()), [name("status"), name("tasks")]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_no_queue_takes_is_named_and_nothing_published() {
    let bench = Bench::open().await;
    let events = vec![bench.event("task.do", "acme", "a"), bench.event("lost.event", "acme", "b")];
    let err = bench.publish(events).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unroutable);
    assert!(err.to_string().contains("event 1") && err.to_string().contains("lost.event"), "{err}");
    assert_eq!(bench.state("tasks").await.ready, 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_client_outside_the_scope_is_refused() {
    let bench = Bench::open().await;
    let event = bench.event("task.do", "bolt", "b");
    let refused = bench.queues.publish(&only("acme"), Publication::of(event)).await;
    assert_eq!(kind(refused), Some(ErrorKind::NotFound));
    assert_eq!(bench.state("tasks").await.ready, 0);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_event_is_told_apart() {
    let bench = Bench::open().await;
    let mut event = bench.event("task.do", "acme", "a");
    event.named = true;
    let twice = |event| bench.publish(vec![event]);
    assert!(!twice(event.clone()).await.unwrap().events[0].duplicate);
    assert!(twice(event).await.unwrap().events[0].duplicate);
    assert_eq!(bench.state("tasks").await.ready, 1);
}

#[tokio::test(start_paused = true)]
async fn another_body_under_the_same_name_conflicts() {
    let bench = Bench::open().await;
    let publish = |label: &str, fingerprint: u8| {
        let request = Some(NamedRequest { id: Uuid::from_u128(1), fingerprint: [fingerprint; 16] });
        let publication = Publication { events: vec![bench.event("task.do", "acme", label)], request };
        let queues = bench.queues.clone();
        async move { queues.publish(&all(), publication).await }
    };
    assert!(!publish("a", 1).await.unwrap().events[0].duplicate);
    assert!(publish("a", 1).await.unwrap().events[0].duplicate);
    assert_eq!(kind(publish("b", 2).await), Some(ErrorKind::IdempotencyConflict));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_until_there_is_room() {
    let bench = Bench::with(Options { queue_events: 2, ..Options::for_testing() }).await;
    bench.put("a").await;
    bench.put("b").await;
    let more = || bench.publish(vec![bench.event("task.do", "acme", "c")]);
    assert_eq!(kind(more().await), Some(ErrorKind::Full));
    let got = bench.take(1).await;
    assert_eq!(kind(more().await), Some(ErrorKind::Full));
    bench.queues.ack(&all(), &name("tasks"), &[got[0].id]).await.unwrap().remove(0).unwrap();
    assert_eq!(kind(more().await), None);

    // What a stream's reader is done with is not counted one by one.
    let row = |label: &str| bench.publish(vec![bench.event("row.put", "acme", label)]);
    row("a").await.unwrap();
    row("b").await.unwrap();
    assert_eq!(kind(row("c").await), Some(ErrorKind::Full));
    let entries =
        bench.queues.read(&name("rows"), Default::default(), 9, 9_999, Duration::ZERO).await.unwrap();
    bench.queues.advance(&name("rows"), entries[0].position).await.unwrap();
    assert_eq!(kind(row("c").await), None);
    assert_eq!(kind(row("d").await), Some(ErrorKind::Full));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_keeps_nothing_from_those_with_room() {
    let bench = Bench::with(Options { queue_events: 3, ..Options::for_testing() }).await;
    bench.put("a").await;
    bench.put("b").await;
    // `task.status` goes to `tasks`, which has room for one more, and to `status`.
    let told = |label: &str| bench.event("task.status", "acme", label);
    let events = vec![told("c"), bench.event("nobody.takes", "acme", "x"), told("d")];
    let missed = bench.queues.publish_where_room(&all(), events.clone()).await.unwrap();
    assert_eq!(missed.into_iter().collect::<Vec<_>>(), [(name("tasks"), 1)]);
    assert_eq!((bench.state("tasks").await.ready, bench.state("status").await.ready), (3, 2));

    let missed = bench.queues.publish_where_room(&all(), vec![told("e"), told("f")]).await.unwrap();
    assert_eq!(missed.into_iter().collect::<Vec<_>>(), [(name("status"), 1), (name("tasks"), 2)]);
    assert_eq!((bench.state("tasks").await.ready, bench.state("status").await.ready), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_commit_is_the_next_group() {
    let bench = Bench::open().await;
    let before = bench.engine.commits().len();
    bench.engine.hold();
    let first = bench.begin("first");
    bench.engine.until_commits(before + 1).await;
    let others: Vec<_> = (0..10).map(|i| bench.begin(&format!("e{i}"))).collect();
    tokio::task::yield_now().await;
    bench.engine.release();
    first.await.unwrap().unwrap();
    for other in others {
        other.await.unwrap().unwrap();
    }
    assert_eq!(bench.engine.commits()[before..], [1, 10]);
    assert_eq!(bench.state("tasks").await.ready, 11);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_bounded_in_operations_and_bytes() {
    let size = Bench::open().await.event("task.do", "acme", "e10").event.encode().len();
    for options in [
        Options { group_ops: 4, ..Options::for_testing() },
        Options { group_bytes: 4 * size + size / 2, ..Options::for_testing() },
    ] {
        let bench = Bench::with(options).await;
        let before = bench.engine.commits().len();
        let publish = |i: u32| {
            let (queues, event) = (bench.queues.clone(), bench.event("task.do", "acme", &format!("e{i}")));
            tokio::spawn(async move { queues.publish(&all(), Publication::of(event)).await })
        };
        bench.engine.hold();
        let tasks: Vec<_> = (10..20).map(publish).collect();
        bench.engine.until_commits(before + 1).await;
        bench.engine.release();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(bench.engine.commits()[before..], [4, 4, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_a_stream_is_woken_by_an_entry() {
    let bench = Bench::open().await;
    let queues = bench.queues.clone();
    let wait = Duration::from_secs(60);
    let reader =
        tokio::spawn(async move { queues.read(&name("rows"), Default::default(), 9, 9_999, wait).await });
    tokio::task::yield_now().await;
    let begin = tokio::time::Instant::now();
    bench.publish(vec![bench.event("row.put", "acme", "a")]).await.unwrap();
    assert_eq!(reader.await.unwrap().unwrap().len(), 1);
    assert_eq!(begin.elapsed(), Duration::ZERO);
    let lease = bench.queues.lease_for_worker(ROLE, &name("tasks"), request(1, Duration::ZERO)).await;
    assert_eq!(lease.unwrap().len(), 0);
    assert_eq!(
        kind(bench.queues.advance(&name("tasks"), Default::default()).await),
        Some(ErrorKind::Conflict)
    );
}
