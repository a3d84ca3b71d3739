//! A cache in this process in front of one that is shared: what is read often is asked of
//! nobody.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Cache, Entry, Error, Key, MemoryCache, RedisCache};

/// Two caches, of which the near one knows a part of what the far one does, and what the
/// far one could not be given.
pub struct LayeredCache {
    near: MemoryCache,
    far: RedisCache,
}

impl LayeredCache {
    /// Puts one in front of the other.
    pub fn new(near: MemoryCache, far: RedisCache) -> Self {
        Self { near, far }
    }
}

#[async_trait]
impl Cache for LayeredCache {
    async fn near(&self, key: &Key) -> Option<Entry> {
        self.near.near(key).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, Error> {
        let here = self.near.near(key).await;
        let (entry, left) = match (self.far.look(key).await, here) {
            (Ok(Some(found)), None) => found,
            (Ok(Some(found)), Some(here)) if found.0.computed_at_us >= here.computed_at_us => found,
            (Err(error), None) => return Err(error),
            (_, here) => return Ok(here),
        };
        self.near.put(key.clone(), entry.clone(), left).await?;
        Ok(Some(entry))
    }

    async fn put(&self, key: Key, entry: Entry, ttl: Duration) -> Result<(), Error> {
        self.near.put(key.clone(), entry.clone(), ttl).await?;
        self.far.put(key, entry, ttl).await
    }

    async fn forget(&self, key: &Key) -> Result<(), Error> {
        self.near.forget(key).await?;
        self.far.forget(key).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.far.check().await
    }
}
