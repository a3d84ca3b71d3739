//! A Redis that goes, comes back, hangs, is full, or holds what others put there.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use orderwire_cache::{Cache, RedisCache, RedisOptions};
use orderwire_servers::PATIENCE;
use orderwire_servers::redis::Redis;
use tracing::subscriber::DefaultGuard;

use crate::support::{LONG, cache, entry, eventually, here, key};

/// What a thousand calls to a cache that is away may take together, on a machine that has other
/// things to do. Were each to wait for its time-out, it would be 250 s.
const A_THOUSAND_CALLS: Duration = Duration::from_secs(50);

/// The lines that operators see while this is there.
struct Log {
    lines: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

impl Log {
    fn kept() -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&lines);
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(move || Lines(Arc::clone(&into)))
            .finish();
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    fn count(&self, text: &str) -> usize {
        String::from_utf8_lossy(&self.lines.lock().unwrap())
            .lines()
            .filter(|line| line.contains(text))
            .count()
    }
}

struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn a_thousand_calls_fail_at_once(cache: &RedisCache) {
    let begun = Instant::now();
    for number in 0..1_000 {
        assert!(cache.get(&key(&number.to_string())).await.is_err());
    }
    assert!(begun.elapsed() < A_THOUSAND_CALLS, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_server_that_stops_costs_no_reader_anything_and_is_used_again_when_it_is_back() {
    let log = Log::kept();
    let Some(mut redis) = Redis::started(&[]).unwrap() else { return };
    let cache = cache(&redis).await;
    cache.put(key("k"), entry("before"), LONG).await.unwrap();
    redis.stop().unwrap();
    eventually("the end is noticed", async || cache.get(&key("k")).await.is_err()).await;
    a_thousand_calls_fail_at_once(&cache).await;
    assert!(cache.put(key("k"), entry("away"), LONG).await.is_err());
    assert!(cache.check().await.unwrap_err().to_string().contains(&redis.port().to_string()));
    assert_eq!(log.count("the cache is away"), 1, "once for each end");

    redis.start().unwrap();
    eventually("it is back", async || cache.get(&key("k")).await.is_ok()).await;
    assert_eq!(cache.get(&key("k")).await.unwrap(), None, "a Redis keeps nothing over its end");
    cache.put(key("k"), entry("after"), LONG).await.unwrap();
    assert_eq!(cache.get(&key("k")).await.unwrap(), Some(entry("after")));
    assert_eq!((log.count("the cache is away"), log.count("connected to the cache")), (1, 2));
}

#[tokio::test]
async fn a_server_that_hangs_costs_one_time_out_and_is_used_again_when_it_goes_on() {
    let log = Log::kept();
    let Some(redis) = Redis::started(&[]).unwrap() else { return };
    let cache = cache(&redis).await;
    cache.put(key("k"), entry("kept"), LONG).await.unwrap();
    redis.hang().unwrap();
    let answer = tokio::time::timeout(PATIENCE, cache.get(&key("k"))).await.expect("an end by itself");
    assert!(answer.unwrap_err().to_string().contains("no answer within 250ms"));
    a_thousand_calls_fail_at_once(&cache).await;
    redis.go_on().unwrap();
    let found = async || cache.get(&key("k")).await.is_ok_and(|found| found == Some(entry("kept")));
    eventually("it goes on", found).await;
    assert_eq!(log.count("the cache is away"), 1);
}

/// Nobody waits for the server of a cache, not even at the start.
#[tokio::test]
async fn a_server_that_was_never_there_costs_nothing() {
    let redis = Redis::new(&[]).unwrap();
    let cache = RedisCache::start(RedisOptions::new(redis.url(), "test")).unwrap();
    a_thousand_calls_fail_at_once(&cache).await;
    assert!(cache.check().await.is_err());
}

#[tokio::test]
async fn a_full_server_keeps_nothing_new_and_hands_out_what_it_has() {
    let log = Log::kept();
    let Some(redis) = Redis::started(&["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"]).unwrap()
    else {
        return;
    };
    let cache = cache(&redis).await;
    cache.put(key("first"), entry("kept"), LONG).await.unwrap();
    let mut number = 0;
    let error = loop {
        number += 1;
        assert!(number < 1_000, "it is full at last");
        let put = cache.put(key(&number.to_string()), entry(vec![b'x'; 100 << 10]), LONG).await;
        if let Err(error) = put {
            break error;
        }
    };
    assert!(error.to_string().contains("OOM"), "{error}");
    // Something small may find room where that did not.
    redis.ask(&["config", "set", "maxmemory", "1"]).unwrap();
    for _ in 0..100 {
        assert!(cache.put(key("more"), entry("more"), LONG).await.is_err());
        assert_eq!(cache.get(&key("first")).await.unwrap(), Some(entry("kept")));
    }
    assert!(cache.check().await.is_err(), "a check keeps something");
    assert_eq!((log.count("keeps nothing new"), log.count("away")), (1, 0));

    redis.ask(&["config", "set", "maxmemory", "0"]).unwrap();
    eventually("it keeps again", async || cache.put(key("more"), entry("more"), LONG).await.is_ok()).await;
    assert_eq!(log.count("keeps entries again"), 1);
    cache.check().await.unwrap();
}

#[tokio::test]
async fn a_server_that_drops_the_oldest_is_bounded() {
    let Some(redis) = Redis::started(&["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru"]).unwrap()
    else {
        return;
    };
    let cache = cache(&redis).await;
    for number in 0..200 {
        cache.put(key(&number.to_string()), entry(vec![b'x'; 100 << 10]), LONG).await.unwrap();
    }
    assert!(cache.get(&key("199")).await.unwrap().is_some());
    assert!(cache.get(&key("0")).await.unwrap().is_none());
    let info = redis.ask(&["info", "memory"]).unwrap();
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    assert!(used.trim().parse::<usize>().unwrap() <= 6 << 20, "{used}");
}

#[tokio::test]
async fn every_entry_ends_by_itself() {
    let Some(redis) = Redis::started(&[]).unwrap() else { return };
    let cache = cache(&redis).await;
    cache.put(key("k"), entry("body"), LONG).await.unwrap();
    let name = redis.ask(&["--scan", "--pattern", "test:*"]).unwrap();
    let names: Vec<_> = name.lines().filter(|name| *name != "test:check").collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let left: u64 = redis.ask(&["ttl", names[0]]).unwrap().parse().unwrap();
    assert!((590..=600).contains(&left), "{left}");
}

/// Others may write there by mistake, or on purpose.
#[tokio::test]
async fn what_others_put_there_is_no_entry_and_no_end() {
    let Some(redis) = Redis::started(&[]).unwrap() else { return };
    let cache = cache(&redis).await;
    cache.put(key("k"), entry("body"), LONG).await.unwrap();
    let all = redis.ask(&["--scan", "--pattern", "test:*"]).unwrap();
    let name = all.lines().find(|name| *name != "test:check").unwrap();
    for text in ["", "\u{1}", "nonsense", &"x".repeat(100 << 10)] {
        redis.ask(&["set", name, text, "ex", "100"]).unwrap();
        assert_eq!(cache.get(&key("k")).await.unwrap(), None, "{} bytes", text.len());
    }
    redis.ask(&["del", name]).unwrap();
    redis.ask(&["rpush", name, "a", "list"]).unwrap();
    assert!(cache.get(&key("k")).await.is_err());
    cache.put(key("k"), entry("mine again"), LONG).await.unwrap();
    assert_eq!(cache.get(&key("k")).await.unwrap(), Some(entry("mine again")));
}

#[tokio::test]
async fn who_may_not_is_told_so_without_what_was_to_prove_it() {
    let Some(redis) = Redis::started(&["--requirepass", "s3cret"]).unwrap() else { return };
    let with = |password: Option<&str>| {
        let options = RedisOptions::new(redis.url(), "test");
        RedisCache::start(RedisOptions { password: password.map(str::to_owned), ..options }).unwrap()
    };
    with(Some("s3cret")).check().await.unwrap();
    for wrong in [None, Some("hunter2")] {
        let cache = with(wrong);
        let error = cache.check().await.unwrap_err().to_string();
        assert!(!error.contains("hunter2") && !format!("{cache:?}").contains("hunter2"), "{error} {cache:?}");
    }
    let url = redis.url().replace("redis://", "redis://:s3cret@");
    RedisCache::start(RedisOptions::new(url, "test")).unwrap().check().await.unwrap();
}

/// What is too large to be kept takes the place of nothing that is wrong.
#[tokio::test]
async fn an_entry_that_is_too_large_is_not_kept() {
    let Some(here) = here() else { return };
    let cache = RedisCache::start(RedisOptions { entry_bytes_max: 1_000, ..here }).unwrap();
    cache.check().await.unwrap();
    cache.put(key("k"), entry("small"), LONG).await.unwrap();
    cache.put(key("k"), entry(vec![b'x'; 1_000]), LONG).await.unwrap();
    assert_eq!(cache.get(&key("k")).await.unwrap(), None);
}
