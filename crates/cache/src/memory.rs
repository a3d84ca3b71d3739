//! The in-process cache, weighted by bytes.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::{Cache, Entry, Error, Key};

/// Answers in the memory of this process.
#[derive(Clone, Debug)]
pub struct MemoryCache {
    entries: moka::future::Cache<Key, (Entry, Duration)>,
}

/// Every entry ends after its own time to live.
struct OwnTtl;

impl moka::Expiry<Key, (Entry, Duration)> for OwnTtl {
    fn expire_after_create(&self, _: &Key, value: &(Entry, Duration), _: Instant) -> Option<Duration> {
        Some(value.1)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        value: &(Entry, Duration),
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(value.1)
    }
}

impl MemoryCache {
    /// A cache of at most this many bytes, keys and bookkeeping included.
    pub fn new(bytes: u64) -> Self {
        /// What an entry costs beside its bytes.
        const OVERHEAD: usize = 256;
        let entries = moka::future::Cache::builder()
            .max_capacity(bytes)
            .weigher(|key: &Key, (entry, _): &(Entry, Duration)| {
                u32::try_from(key.len() + entry.body.len() + entry.meta.len() + OVERHEAD).unwrap_or(u32::MAX)
            })
            .expire_after(OwnTtl)
            .build();
        Self { entries }
    }
}

#[cfg(feature = "testkit")]
impl MemoryCache {
    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.entries.invalidate_all();
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn near(&self, key: &Key) -> Option<Entry> {
        self.entries.get(key).await.map(|(entry, _)| entry)
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, Error> {
        Ok(self.near(key).await)
    }

    async fn put(&self, key: Key, entry: Entry, ttl: Duration) -> Result<(), Error> {
        self.entries.insert(key, (entry, ttl)).await;
        Ok(())
    }

    async fn forget(&self, key: &Key) -> Result<(), Error> {
        self.entries.invalidate(key).await;
        Ok(())
    }

    async fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn entry(len: usize) -> Entry {
        Entry { generation: 1, computed_at_us: 0, body: Bytes::from(vec![b'x'; len]), meta: Bytes::new() }
    }

    #[tokio::test]
    async fn bytes_are_bounded() {
        let cache = MemoryCache::new(100_000);
        for i in 0..100 {
            cache.put(format!("k{i}").into(), entry(10_000), Duration::from_secs(60)).await.unwrap();
        }
        cache.entries.run_pending_tasks().await;
        assert!(cache.entries.weighted_size() <= 100_000, "{}", cache.entries.weighted_size());
        assert!(cache.entries.entry_count() > 0);
    }
}
