//! Several servers on one store and one Redis, which fails.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::http::StatusCode;
use orderwire_cache::{Cache, Entry, Error, Key, LayeredCache, MemoryCache, RedisCache, RedisOptions};
use orderwire_query::{Freshness, ViewDef, is_answer};
use orderwire_servers::PATIENCE;
use orderwire_servers::redis::Redis;
use tokio::task::JoinSet;

use crate::bench::{Bench, public, view};

const HIT: &str = "orderwire; hit";
const MISS: &str = "orderwire; fwd=miss";
const ROW: &str = r#"[{"TimeInstant":"2026-02-01T00:00:00Z","id_entity":"s9","n":9}]"#;

fn views() -> Vec<ViewDef> {
    vec![ViewDef { read: public(&["default"]), freshness: Freshness::Strict, ..view("/api/open") }]
}

/// So many servers, with rows.
async fn nodes(redis: &Redis, count: usize) -> Vec<Bench> {
    let bench = Bench::new(Vec::new()).await;
    bench.sample().await;
    let mut nodes = Vec::new();
    for _ in 0..count {
        let cache = LayeredCache::new(MemoryCache::new(64 << 20), far(redis).await);
        nodes.push(bench.beside(views(), Arc::new(cache)));
    }
    nodes
}

/// The cache that they share.
async fn far(redis: &Redis) -> RedisCache {
    let options = RedisOptions { is_usable: is_answer, ..RedisOptions::new(redis.url(), "test") };
    let far = RedisCache::start(options).unwrap();
    far.check().await.unwrap();
    far
}

/// A cache of a server whose answers are described in another way.
struct OfAnotherVersion(RedisCache);

#[async_trait]
impl Cache for OfAnotherVersion {
    async fn near(&self, _: &Key) -> Option<Entry> {
        None
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, Error> {
        self.0.get(key).await
    }

    async fn put(&self, key: Key, entry: Entry, ttl: Duration) -> Result<(), Error> {
        self.0.put(key, Entry { meta: "as nobody reads it".into(), ..entry }, ttl).await
    }

    async fn forget(&self, key: &Key) -> Result<(), Error> {
        self.0.forget(key).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.0.check().await
    }
}

async fn status_of(node: &Bench, path: &str) -> String {
    let answer = node.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.header("cache-status").to_owned()
}

#[tokio::test]
async fn what_one_server_read_the_others_need_not_and_none_is_older_than_a_write() {
    let Some(redis) = Redis::started(&[]).unwrap() else { return };
    let nodes = nodes(&redis, 2).await;
    for path in ["/api/open", "/rest/air?order=n"] {
        let before = nodes[0].selects();
        assert_eq!(status_of(&nodes[0], path).await, MISS);
        assert_eq!(status_of(&nodes[1], path).await, HIT);
        assert_eq!(nodes[0].selects(), before + 1, "the other did not ask the store");
    }
    let answer = nodes[1].get("/api/open").await;
    assert_eq!(answer.json()["cache"], true);
    nodes[0].record("default", ROW).await;
    for path in ["/api/open", "/rest/air?order=n"] {
        assert_eq!(status_of(&nodes[1], path).await, MISS);
        assert_eq!(status_of(&nodes[0], path).await, HIT);
        for node in &nodes {
            assert!(node.get(path).await.text.contains("s9"), "{path}");
        }
    }
}

#[tokio::test]
async fn what_was_kept_there_and_cannot_be_read_is_read_anew() {
    let Some(redis) = Redis::started(&[]).unwrap() else { return };
    let nodes = nodes(&redis, 2).await;
    let other = nodes[0].beside(views(), Arc::new(OfAnotherVersion(far(&redis).await)));
    for path in ["/api/open", "/rest/air?order=n"] {
        assert_eq!(status_of(&other, path).await, MISS);
        assert_eq!(status_of(&nodes[0], path).await, MISS);
        assert_eq!(status_of(&nodes[1], path).await, HIT, "what is read anew takes its place");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_equal_misses_ask_the_store_and_redis_once() {
    let Some(redis) = Redis::started(&[]).unwrap() else { return };
    let node = Arc::new(nodes(&redis, 1).await.remove(0));
    let mut calls = JoinSet::new();
    for _ in 0..1_000 {
        let node = node.clone();
        calls.spawn(async move { node.get("/api/open").await });
    }
    while let Some(answer) = calls.join_next().await {
        assert_eq!(answer.unwrap().status, StatusCode::OK);
    }
    assert_eq!(node.selects(), 1);
    let stats = redis.ask(&["info", "commandstats"]).unwrap();
    let asked = stats.lines().find_map(|line| line.strip_prefix("cmdstat_getrange:calls=")).unwrap();
    let asked: u64 = asked.split(',').next().unwrap().parse().unwrap();
    assert!(asked <= 10, "{asked} of 1000 asked Redis");
}

#[tokio::test]
async fn a_redis_that_stops_hangs_or_is_full_fails_no_read_and_slows_none() {
    let Some(mut redis) =
        Redis::started(&["--maxmemory", "2mb", "--maxmemory-policy", "noeviction"]).unwrap()
    else {
        return;
    };
    let bench = Bench::new(Vec::new()).await;
    bench.sample().await;
    let cache = Arc::new(LayeredCache::new(MemoryCache::new(64 << 20), far(&redis).await));
    let node = bench.beside(views(), cache.clone());
    redis.hang().unwrap();
    all_are_read(&node, "hangs").await;
    redis.go_on().unwrap();
    redis.stop().unwrap();
    all_are_read(&node, "away").await;
    redis.start().unwrap();
    // Else it is one that is away, once more.
    let mut again = tokio::time::interval(Duration::from_millis(20));
    let until = Instant::now() + PATIENCE;
    while cache.check().await.is_err() {
        assert!(Instant::now() < until, "it is not found again");
        again.tick().await;
    }
    redis.ask(&["config", "set", "maxmemory", "1"]).unwrap();
    all_are_read(&node, "full").await;
    let refused = cache.check().await.unwrap_err().to_string();
    assert!(refused.contains("OOM"), "{refused}");
}

/// What a hundred reads may take, on a machine that has other things to do: less than if each
/// waited for its time-out.
const A_HUNDRED_READS: Duration = Duration::from_secs(20);

/// A hundred questions that nobody asked before.
async fn all_are_read(node: &Bench, how: &str) {
    let begun = Instant::now();
    for number in 0..100 {
        assert_eq!(status_of(node, &format!("/rest/air?id_entity=neq.{how}{number}")).await, MISS);
    }
    assert!(begun.elapsed() < A_HUNDRED_READS, "{how}: {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_store_that_is_away_is_answered_for_by_what_others_read() {
    let Some(redis) = Redis::started(&[]).unwrap() else { return };
    let nodes = nodes(&redis, 2).await;
    assert_eq!(status_of(&nodes[0], "/api/open").await, MISS);
    nodes[0].record("default", ROW).await;
    nodes[0].pass(Duration::from_secs(90));
    nodes[1].store.away.store(true, SeqCst);
    let stale = nodes[1].get("/api/open").await;
    assert_eq!(
        (stale.status, stale.header("cache-status")),
        (StatusCode::OK, "orderwire; hit; detail=stale")
    );
    assert_eq!((stale.header("age"), stale.json()["cache"].as_bool()), ("90", Some(true)));
    assert_eq!(nodes[1].get("/api/open?n=eq.1").await.status, StatusCode::SERVICE_UNAVAILABLE);
}
