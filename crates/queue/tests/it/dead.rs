use std::time::Duration;

use orderwire_queue::{DeadFilter, ErrorKind, Options, Selected};
use orderwire_types::{Data, Event, RawJson};

use crate::bench::{Bench, all, kind, name, only, shown};

/// Dead-letters events of these labels, of two clients in turn.
async fn bury(bench: &Bench, count: usize) {
    let event = |i: usize| bench.event("task.do", ["acme", "bolt"][i % 2], &format!("e{i}"));
    bench.publish((0..count).map(event).collect()).await.unwrap();
    let ids: Vec<_> = bench.take(count).await.iter().map(|delivery| delivery.id).collect();
    assert_eq!(ids.len(), count);
    let failed = bench.queues.fail(&all(), &name("tasks"), &ids, "no use").await.unwrap();
    assert!(failed.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn a_replay_takes_all_pages_and_a_dry_run_nothing() {
    let bench = Bench::open().await;
    bury(&bench, 700).await;
    let filter = DeadFilter { client: Some("acme".parse().unwrap()), ..DeadFilter::default() };
    let dry = bench.queues.replay(&all(), &filter, true).await.unwrap();
    assert_eq!(dry, Selected { matched: 350, done: 0 });
    assert_eq!(bench.state("tasks").await.dead, 700);
    let real = bench.queues.replay(&all(), &filter, false).await.unwrap();
    assert_eq!(real, Selected { matched: 350, done: 350 });
    let state = bench.state("tasks").await;
    assert_eq!((state.dead, state.ready), (350, 350));
    let again = bench.queues.replay(&all(), &filter, false).await.unwrap();
    assert_eq!(again, Selected::default());
}

#[tokio::test(start_paused = true)]
async fn a_discard_stays_within_the_scope() {
    let bench = Bench::open().await;
    bury(&bench, 10).await;
    let done = bench.queues.discard(&only("bolt"), &DeadFilter::default(), false, "a test").await.unwrap();
    assert_eq!(done, Selected { matched: 5, done: 5 });
    let left = bench.queues.dead(&all(), &DeadFilter::default(), 0, 100).await.unwrap();
    assert!(left.items.iter().all(|letter| letter.client.as_str() == "acme"));
    assert_eq!(left.items.len(), 5);
    assert_eq!(
        bench.queues.dead(&only("bolt"), &DeadFilter::default(), 0, 100).await.unwrap().items.len(),
        0
    );

    let id = left.items[0].id;
    assert_eq!(bench.queues.dead_letter(&all(), id).await.unwrap().id, id);
    assert_eq!(kind(bench.queues.dead_letter(&only("bolt"), id).await), Some(ErrorKind::NotFound));
    let mut elsewhere = all();
    elsewhere.objects = Some(["queue/status".to_owned()].into());
    assert_eq!(kind(bench.queues.dead_letter(&elsewhere, id).await), Some(ErrorKind::NotFound));
    let none = bench.queues.replay(&elsewhere, &DeadFilter::default(), false).await.unwrap();
    assert_eq!(none, Selected::default());
}

#[tokio::test(start_paused = true)]
async fn what_dies_while_a_replay_runs_is_not_replayed() {
    let bench = Bench::open().await;
    bury(&bench, 300).await;
    bench.put("late").await;
    let late = bench.take(1).await;
    let before = bench.engine.commits().len();
    bench.engine.hold();
    let queues = bench.queues.clone();
    let replay = tokio::spawn(async move { queues.replay(&all(), &DeadFilter::default(), false).await });
    // Its first page is being committed now; another letter comes behind.
    bench.engine.until_commits(before + 1).await;
    bench.clock.advance(Duration::from_secs(1));
    let queues = bench.queues.clone();
    let fail = tokio::spawn(async move { queues.fail(&all(), &name("tasks"), &[late[0].id], "no").await });
    tokio::task::yield_now().await;
    bench.engine.release();
    assert_eq!(replay.await.unwrap().unwrap(), Selected { matched: 300, done: 300 });
    fail.await.unwrap().unwrap().remove(0).unwrap();
    assert_eq!(bench.state("tasks").await.dead, 1);
}

#[tokio::test(start_paused = true)]
async fn a_replay_keeps_to_the_time_of_its_filter() {
    let bench = Bench::open().await;
    bury(&bench, 1).await;
    let before = DeadFilter { until: Some(bench.clock.now()), ..DeadFilter::default() };
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.queues.replay(&all(), &before, false).await.unwrap(), Selected::default());
    let everything = DeadFilter::default();
    let replayed = bench.queues.replay(&all(), &everything, false).await.unwrap();
    assert_eq!(replayed, Selected { matched: 1, done: 1 });
    assert_eq!(shown(&bench.take(1).await), [("e0".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_committed_in_pieces_of_bounded_size() {
    let bench = Bench::with(Options { lease_bytes: 1_000, ..Options::for_testing() }).await;
    for _ in 0..3 {
        bury_some(&bench).await;
    }
    let size: usize = {
        let letters = bench.queues.dead(&all(), &DeadFilter::default(), 0, 100).await.unwrap();
        assert!(letters.next.is_some(), "a page of letters is bounded as well");
        letters.items[0].body.len()
    };
    let per_commit = 1_000usize.div_ceil(size);
    let before = bench.engine.commits().len();
    let done = bench.queues.replay(&all(), &DeadFilter::default(), false).await.unwrap();
    assert_eq!(done, Selected { matched: 30, done: 30 });
    let commits = bench.engine.commits().len() - before;
    assert_eq!(commits, 30usize.div_ceil(per_commit), "letters of {size} bytes");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_bounded_in_bytes_and_wakes_the_next() {
    let bench = Bench::with(Options { lease_bytes: 1, ..Options::for_testing() }).await;
    let consumers: Vec<_> = (0..2)
        .map(|_| {
            let (queues, request) = (bench.queues.clone(), crate::bench::request(9, Duration::from_secs(60)));
            tokio::spawn(async move { queues.lease(&all(), &name("tasks"), request).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let begin = tokio::time::Instant::now();
    let events = (0..2).map(|i| bench.event("task.do", "acme", &format!("e{i}"))).collect();
    bench.publish(events).await.unwrap();
    for consumer in consumers {
        assert_eq!(consumer.await.unwrap().unwrap().len(), 1);
    }
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

/// Dead-letters ten events, each leased by itself where leases are small.
async fn bury_some(bench: &Bench) {
    bench.publish((0..10).map(|i| bench.event("task.do", "acme", &format!("e{i}"))).collect()).await.unwrap();
    let mut left = 10;
    while left > 0 {
        let ids: Vec<_> = bench.take(10).await.iter().map(|delivery| delivery.id).collect();
        assert!(!ids.is_empty());
        left -= ids.len();
        bench.queues.fail(&all(), &name("tasks"), &ids, "no use").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_edit_changes_the_data_of_what_was_seen_and_no_more() {
    let bench = Bench::open().await;
    bury(&bench, 1).await;
    let read =
        async || bench.queues.dead(&all(), &DeadFilter::default(), 0, 1).await.unwrap().items.remove(0);
    let letter = read().await;
    let data = |text: &str| Data::Json(RawJson::parse(text.to_owned()).unwrap());
    let edited = bench.queues.edit(&all(), &letter, data("1.50"), Some("a test")).await.unwrap();
    assert_eq!(read().await, edited);
    let (before, after) = (Event::decode(&letter.body).unwrap(), Event::decode(&edited.body).unwrap());
    assert_eq!(after, Event { data: data("1.50"), ..before });
    let mut elsewhere = all();
    elsewhere.objects = Some(["queue/status".to_owned()].into());
    for (scope, letter, expected) in [
        (all(), &letter, ErrorKind::Conflict),
        (only("bolt"), &edited, ErrorKind::NotFound),
        (elsewhere, &edited, ErrorKind::NotFound),
    ] {
        assert_eq!(kind(bench.queues.edit(&scope, letter, data("2"), None).await), Some(expected));
    }
    assert_eq!(read().await, edited);
}
