//! Several nodes with one Redis, each with a cache of its own in front.

use orderwire_cache::{Cache, LayeredCache, MemoryCache, RedisCache, RedisOptions};
use orderwire_servers::redis::Redis;

use crate::support::{LONG, entry, eventually, key};

async fn node(redis: &Redis) -> LayeredCache {
    let far = RedisCache::start(RedisOptions::new(redis.url(), "test")).unwrap();
    far.check().await.unwrap();
    LayeredCache::new(MemoryCache::new(64 << 20), far)
}

fn asked(redis: &Redis) -> u64 {
    let stats = redis.ask(&["info", "commandstats"]).unwrap();
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_getrange:calls=")).unwrap_or("0");
    line.split(',').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_one_node_asked_the_store_the_others_need_not() {
    let Some(redis) = Redis::started(&[]).unwrap() else { return };
    let (one, other) = (node(&redis).await, node(&redis).await);
    one.put(key("k"), entry("body"), LONG).await.unwrap();
    assert_eq!(other.near(&key("k")).await, None);
    assert_eq!(other.get(&key("k")).await.unwrap(), Some(entry("body")));
    // From then on it is near, and nobody is asked.
    let before = asked(&redis);
    for _ in 0..100 {
        assert_eq!(other.near(&key("k")).await, Some(entry("body")));
    }
    assert_eq!(asked(&redis), before);
}

/// It would hold up all others on the one connection, and end that when it takes too long.
#[tokio::test]
async fn what_is_large_is_kept_by_each_node_for_itself() {
    let Some(redis) = Redis::started(&[]).unwrap() else { return };
    let (one, other) = (node(&redis).await, node(&redis).await);
    let large = entry(vec![b'x'; 2 << 20]);
    one.put(key("k"), large.clone(), LONG).await.unwrap();
    assert_eq!(one.get(&key("k")).await.unwrap(), Some(large));
    assert_eq!(other.get(&key("k")).await.unwrap(), None);
}

/// A copy ends with what it is a copy of.
#[tokio::test]
async fn a_copy_lives_no_longer_than_what_it_is_a_copy_of() {
    let Some(redis) = Redis::started(&[]).unwrap() else { return };
    let (one, other) = (node(&redis).await, node(&redis).await);
    one.put(key("k"), entry("body"), std::time::Duration::from_secs(2)).await.unwrap();
    assert!(other.get(&key("k")).await.unwrap().is_some());
    eventually("it ends", async || other.near(&key("k")).await.is_none()).await;
}

#[tokio::test]
async fn what_is_near_is_there_also_when_the_server_is_not() {
    let Some(mut redis) = Redis::started(&[]).unwrap() else { return };
    let node = node(&redis).await;
    node.put(key("k"), entry("body"), LONG).await.unwrap();
    redis.stop().unwrap();
    assert_eq!(node.get(&key("k")).await.unwrap(), Some(entry("body")));
    assert!(node.put(key("new"), entry("new"), LONG).await.is_err());
    assert_eq!(node.near(&key("new")).await, Some(entry("new")), "kept here all the same");
    eventually("others are not known", async || node.get(&key("other")).await.is_err()).await;
}
