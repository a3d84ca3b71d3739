//! What the tests work with.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use orderwire_cache::{Cache, Entry, Key, RedisCache, RedisOptions};
use orderwire_servers::PATIENCE;
use orderwire_servers::redis::Redis;

/// Longer than any test.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// The Redis of this machine, with a prefix that nobody else has. None, said loudly, where
/// there is none, which `CI=true` requires. `REDIS_URL` names another one.
pub(crate) fn here() -> Option<RedisOptions> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let given = std::env::var("REDIS_URL").ok();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 6379));
    if given.is_none() && TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_err() {
        assert!(std::env::var_os("CI").is_none(), "CI needs a Redis on {address}: cargo xtask services");
        eprintln!("SKIPPED: no Redis on {address}; start one with cargo xtask services, or set REDIS_URL");
        return None;
    }
    let url = given.unwrap_or_else(|| format!("redis://{address}"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    Some(RedisOptions {
        timeout: Duration::from_secs(10),
        entry_bytes_max: 20 << 20,
        ..RedisOptions::new(url, format!("test-{now:x}-{serial}"))
    })
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
