//! What the tests work with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use orderwire_cache::{Cache, Entry, Key, RedisCache, RedisOptions};
use orderwire_servers::PATIENCE;
use orderwire_servers::redis::Redis;

/// Longer than any test.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// The Redis of this machine, with a prefix that nobody else has.
pub(crate) fn here() -> RedisOptions {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    RedisOptions {
        timeout: Duration::from_secs(10),
        ..RedisOptions::new(url, format!("test-{now:x}-{serial}"))
    }
}

/// A cache in a Redis of the test's own, which gives up soon.
pub(crate) async fn cache(redis: &Redis) -> Arc<RedisCache> {
    let cache = Arc::new(RedisCache::start(RedisOptions::new(redis.url(), "test")).unwrap());
    cache.check().await.unwrap();
    cache
}

pub(crate) fn entry(body: impl Into<bytes::Bytes>) -> Entry {
    Entry { generation: 1, computed_at_us: 0, body: body.into(), meta: bytes::Bytes::new() }
}

pub(crate) fn key(text: &str) -> Key {
    text.into()
}

/// Asks again and again until it is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let mut again = tokio::time::interval(Duration::from_millis(20));
    let until = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < until, "in vain: {what}");
        again.tick().await;
    }
}
