use std::time::Duration;

use orderwire_queue::{Error, ErrorKind, Options};

use crate::bench::{Bench, SECOND, all, kind, shown};

#[tokio::test(start_paused = true)]
async fn a_stopping_service_finishes_what_it_took_and_takes_nothing_new() {
    let mut bench = Bench::open().await;
    let consumer = {
        let waiting = bench.queues.clone();
        let request = crate::bench::request(1, 60 * SECOND);
        tokio::spawn(async move { waiting.lease(&all(), &crate::bench::name("status"), request).await })
    };
    tokio::task::yield_now().await;
    let before = bench.engine.commits().len();
    bench.engine.hold();
    let first = bench.begin("first");
    bench.engine.until_commits(before + 1).await;
    let second = bench.begin("second");
    let late = bench.event("task.do", "acme", "late");
    tokio::task::yield_now().await;
    bench.stop();
    tokio::task::yield_now().await;
    bench.engine.release();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(consumer.await.unwrap().unwrap().len(), 0, "whoever waits is let go");
    assert_eq!(kind(bench.publish(vec![late]).await), Some(ErrorKind::Unavailable));
    assert_eq!(bench.state("tasks").await.ready, 2);
}

#[tokio::test(start_paused = true)]
async fn all_queues_are_looked_at_at_once() {
    let bench = Bench::with(Options { figures_every: 10 * SECOND, ..Options::for_testing() }).await;
    assert_eq!(bench.engine.looks(), 1, "at the start, of three queues");
    assert_eq!(bench.queues.states(&all()).await.unwrap().len(), 3);
    assert_eq!(bench.engine.looks(), 2);
    tokio::time::advance(10 * SECOND).await;
    while bench.engine.looks() < 3 {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    assert_eq!(bench.engine.looks(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_when_the_storage_hangs() {
    let bench = Bench::with(Options { call_timeout: 5 * SECOND, ..Options::for_testing() }).await;
    bench.engine.hold();
    let begin = tokio::time::Instant::now();
    let event = bench.event("task.do", "acme", "a");
    // It may be committed yet, so nobody may be told that nothing happened.
    assert_eq!(kind(bench.publish(vec![event]).await), Some(ErrorKind::Unconfirmed));
    assert_eq!(begin.elapsed(), 5 * SECOND);
    bench.engine.release();
    while bench.state("tasks").await.ready == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn more_calls_than_may_wait_are_refused_at_once() {
    let bench = Bench::with(Options { pending_calls: 2, ..Options::for_testing() }).await;
    let before = bench.engine.commits().len();
    bench.engine.hold();
    let first = bench.begin("first");
    bench.engine.until_commits(before + 1).await;
    let waiting = [bench.begin("second"), bench.begin("third")];
    tokio::task::yield_now().await;
    let begin = tokio::time::Instant::now();
    let event = bench.event("task.do", "acme", "fourth");
    assert_eq!(kind(bench.publish(vec![event]).await), Some(ErrorKind::Unavailable));
    assert_eq!(begin.elapsed(), Duration::ZERO);
    bench.engine.release();
    first.await.unwrap().unwrap();
    for waiting in waiting {
        waiting.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_fails_is_told_and_recovers() {
    let bench = Bench::open().await;
    assert_eq!(kind(bench.queues.health()), None);
    bench.engine.fail(Some(Error::new(ErrorKind::Unavailable, "no space left on device")));
    let err = bench.publish(vec![bench.event("task.do", "acme", "lost")]).await.unwrap_err();
    assert_eq!((err.kind(), err.to_string().as_str()), (ErrorKind::Unavailable, "no space left on device"));
    assert_eq!(kind(bench.queues.health()), Some(ErrorKind::Unavailable));
    bench.engine.fail(None);
    bench.put("a").await;
    assert_eq!(kind(bench.queues.health()), None);
    assert_eq!(shown(&bench.take(5).await), [("a".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_works_again_is_noticed_without_a_call() {
    let bench = Bench::open().await;
    bench.engine.fail(Some(Error::new(ErrorKind::Unavailable, "no space left on device")));
    let event = bench.event("task.do", "acme", "lost");
    assert_eq!(kind(bench.publish(vec![event]).await), Some(ErrorKind::Unavailable));
    let before = bench.engine.commits().len();
    bench.engine.until_commits(before + 2).await;
    assert_eq!(kind(bench.queues.health()), Some(ErrorKind::Unavailable), "it is asked, and fails still");
    bench.engine.fail(None);
    let begin = tokio::time::Instant::now();
    let before = bench.engine.commits().len();
    bench.engine.until_commits(before + 1).await;
    while bench.queues.health().is_err() {
        tokio::task::yield_now().await;
    }
    assert!(begin.elapsed() <= SECOND, "{:?}", begin.elapsed());
    // Healthy, it is left alone.
    let before = bench.engine.commits().len();
    tokio::time::advance(10 * SECOND).await;
    tokio::task::yield_now().await;
    assert_eq!(bench.engine.commits().len(), before);
}

#[tokio::test(start_paused = true)]
async fn leases_end_although_the_storage_failed_meanwhile() {
    let bench = Bench::open().await;
    bench.put("a").await;
    bench.take(1).await;
    let consumer = bench.wait_for_one(all());
    tokio::task::yield_now().await;
    bench.engine.fail(Some(Error::new(ErrorKind::Unavailable, "locked")));
    let before = bench.engine.commits().len();
    bench.clock.advance(31 * SECOND);
    bench.engine.until_commits(before + 1).await;
    bench.engine.fail(None);
    assert_eq!(shown(&consumer.await.unwrap().unwrap()), [("a".to_owned(), 2)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_past_its_retention_is_swept() {
    let bench = Bench::with(Options { remembered_for: 60 * SECOND, ..Options::for_testing() }).await;
    let mut event = bench.event("task.do", "acme", "a");
    event.named = true;
    assert!(!bench.publish(vec![event.clone()]).await.unwrap().events[0].duplicate);
    assert!(bench.publish(vec![event.clone()]).await.unwrap().events[0].duplicate);
    let before = bench.engine.commits().len();
    bench.clock.advance(200 * SECOND);
    bench.engine.until_commits(before + 1).await;
    assert!(!bench.publish(vec![event]).await.unwrap().events[0].duplicate);
}
