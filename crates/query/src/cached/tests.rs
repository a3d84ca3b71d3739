use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};

use bytes::Bytes;
use orderwire_cache::MemoryCache;
use tokio::sync::Semaphore;

use super::*;

/// A layer whose clock is set by hand.
struct Bench {
    cached: Cached,
    now_us: Arc<AtomicI64>,
    loads: Arc<AtomicU64>,
    /// A load ends when it gets a permit.
    gate: Arc<Semaphore>,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Bench {
    fn new() -> Self {
        let now_us = Arc::new(AtomicI64::new(1_000_000_000));
        let clock = now_us.clone();
        let clock = Clock::from_fn(move || jiff::Timestamp::from_microsecond(clock.load(SeqCst)).unwrap());
        let options = Options { clock, ..Options::for_testing() };
        let cached = Cached::new(Arc::new(MemoryCache::new(1 << 20)), &options);
        Self { cached, now_us, loads: Arc::default(), gate: Arc::new(Semaphore::new(1_000_000)) }
    }

    fn pass(&self, time: Duration) {
        self.now_us.fetch_add(i64::try_from(time.as_micros()).unwrap(), SeqCst);
    }

    /// A load that brings the number of loads so far.
    fn load(&self) -> impl FnOnce() -> Load + use<> {
        let (loads, gate) = (self.loads.clone(), self.gate.clone());
        move || {
            Box::pin(async move {
                let n = loads.fetch_add(1, SeqCst) + 1;
                gate.acquire().await.unwrap().forget();
                Ok((Bytes::from(n.to_string()), Bytes::new()))
            })
        }
    }

    async fn read(&self, ask: Ask) -> (String, Source, u64) {
        let found = self.cached.read(ask, self.load()).await.unwrap();
        (String::from_utf8(found.entry.body.to_vec()).unwrap(), found.source, found.age)
    }
}

fn strict(generation: u64) -> Ask {
    Ask { key: "k".into(), generation, freshness: Freshness::Strict, ttl: 60 * MINUTE }
}

fn within(generation: u64, span: Duration) -> Ask {
    Ask { freshness: Freshness::Within(span), ..strict(generation) }
}

fn fails(kind: ErrorKind) -> impl FnOnce() -> Load {
    move || Box::pin(async move { Err(Error::new(kind, "X", "away")) })
}

#[tokio::test]
async fn a_strict_answer_is_used_until_the_generation_changes() {
    let bench = Bench::new();
    assert_eq!(bench.read(strict(1)).await, ("1".into(), Source::Miss, 0));
    bench.pass(MINUTE);
    assert_eq!(bench.read(strict(1)).await, ("1".into(), Source::Hit, 60));
    assert_eq!(bench.read(strict(2)).await, ("2".into(), Source::Miss, 0));
    assert_eq!(bench.read(strict(2)).await, ("2".into(), Source::Hit, 0));
}

#[tokio::test]
async fn an_answer_within_its_span_outlives_generations_but_not_the_span() {
    let bench = Bench::new();
    bench.read(within(1, MINUTE)).await;
    bench.pass(MINUTE - Duration::from_secs(1));
    assert_eq!(bench.read(within(7, MINUTE)).await, ("1".into(), Source::Hit, 59));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.read(within(7, MINUTE)).await, ("2".into(), Source::Miss, 0));
}

#[tokio::test]
async fn nothing_older_than_its_time_to_live_is_handed_out() {
    let bench = Bench::new();
    bench.read(strict(1)).await;
    bench.pass(61 * MINUTE);
    assert_eq!(bench.read(strict(1)).await, ("2".into(), Source::Miss, 0));
    bench.pass(61 * MINUTE);
    let error = bench.cached.read(strict(1), fails(ErrorKind::Unavailable)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_stale_answer_is_better_than_none_when_the_store_is_away() {
    let bench = Bench::new();
    bench.read(strict(1)).await;
    bench.pass(MINUTE);
    let found = bench.cached.read(strict(2), fails(ErrorKind::Unavailable)).await.unwrap();
    assert_eq!((found.source, found.age, &*found.entry.body), (Source::Stale, 60, b"1".as_slice()));
    // Another failure is not covered up, and neither is ever kept.
    for kind in [ErrorKind::TooCostly, ErrorKind::Invalid] {
        assert_eq!(bench.cached.read(strict(2), fails(kind)).await.unwrap_err().kind(), kind);
    }
    assert_eq!(bench.read(strict(2)).await, ("2".into(), Source::Miss, 0));
}

#[tokio::test]
async fn readers_of_one_generation_share_a_load_and_later_ones_do_not() {
    let bench = Bench::new();
    bench.gate.forget_permits(1_000_000);
    let first = tokio::spawn(bench.cached.clone().owned(strict(1), bench.load()));
    until(|| bench.loads.load(SeqCst) == 1).await;
    let second = tokio::spawn(bench.cached.clone().owned(strict(1), bench.load()));
    // A row was recorded in between: this reader must not get the older answer.
    let third = tokio::spawn(bench.cached.clone().owned(strict(2), bench.load()));
    until(|| bench.loads.load(SeqCst) == 2).await;
    bench.gate.add_permits(2);
    let body = |found: Found| (String::from_utf8(found.entry.body.to_vec()).unwrap(), found.source);
    assert_eq!(body(first.await.unwrap()), ("1".into(), Source::Miss));
    assert_eq!(body(second.await.unwrap()), ("1".into(), Source::Collapsed));
    assert_eq!(body(third.await.unwrap()), ("2".into(), Source::Miss));
    assert!(bench.cached.flights.lock().unwrap().by_key.is_empty());
}

#[tokio::test]
async fn a_reader_that_looked_before_another_landed_does_not_load_again() {
    let bench = Bench::new();
    bench.read(strict(1)).await;
    // As if this reader had missed before the first one's answer was kept.
    let (flight, source) = bench.cached.take_off(&strict(1), bench.load());
    let landed = flight.await.unwrap();
    assert_eq!((source, &*landed.entry.body), (Source::Miss, b"1".as_slice()));
    assert_eq!(landed.cached, Some(Source::Hit));
    assert_eq!(bench.loads.load(SeqCst), 1);
}

#[tokio::test]
async fn a_reader_that_goes_away_leaves_the_load_to_the_others() {
    let bench = Bench::new();
    bench.gate.forget_permits(1_000_000);
    let first = tokio::spawn(bench.cached.clone().owned(strict(1), bench.load()));
    until(|| bench.loads.load(SeqCst) == 1).await;
    let second = tokio::spawn(bench.cached.clone().owned(strict(1), bench.load()));
    let joined = || {
        let flights = bench.cached.flights.lock().unwrap();
        flights.by_key.values().next().unwrap().1.upgrade().unwrap().strong_count() == Some(3)
    };
    until(joined).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    bench.gate.add_permits(1);
    assert_eq!(second.await.unwrap().source, Source::Collapsed);
    assert_eq!(bench.loads.load(SeqCst), 1);

    // The last one to go ends the load, and the next one starts anew.
    let alone = tokio::spawn(bench.cached.clone().owned(strict(2), bench.load()));
    until(|| bench.loads.load(SeqCst) == 2).await;
    alone.abort();
    assert!(alone.await.unwrap_err().is_cancelled());
    assert!(bench.cached.flights.lock().unwrap().by_key.is_empty());
    bench.gate.add_permits(1);
    assert_eq!(bench.read(strict(2)).await.1, Source::Miss);
}

#[tokio::test]
async fn a_load_that_panics_fails_its_readers_only() {
    let bench = Bench::new();
    let load = || -> Load { Box::pin(async { panic!("on purpose") }) };
    assert_eq!(bench.cached.read(strict(1), load).await.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(bench.read(strict(1)).await.1, Source::Miss);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_is_waited_for_only_so_long() {
    let bench = Bench::new();
    bench.read(strict(1)).await;
    let load = || -> Load { Box::pin(std::future::pending()) };
    assert_eq!(bench.cached.read(strict(2), load).await.unwrap().source, Source::Stale);
    let error = bench.cached.bypass(2, load()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_kept() {
    let bench = Bench::new();
    let large = bench.cached.bytes_max + 1;
    let load = move || -> Load { Box::pin(async move { Ok((vec![b'x'; large].into(), Bytes::new())) }) };
    for _ in 0..2 {
        assert_eq!(bench.cached.read(strict(1), load).await.unwrap().source, Source::Miss);
    }
}

impl Cached {
    async fn owned(self, ask: Ask, load: impl FnOnce() -> Load) -> Found {
        self.read(ask, load).await.unwrap()
    }
}

/// Awaits a condition; a test that would wait for ever fails instead.
async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("what is waited for does not happen");
}
