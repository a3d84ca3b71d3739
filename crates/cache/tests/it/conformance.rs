use std::sync::Arc;

use async_trait::async_trait;
use orderwire_cache::testkit::Factory;
use orderwire_cache::{Cache, LayeredCache, MemoryCache, RedisCache, RedisOptions};

use crate::support::here;

struct InMemory;

#[async_trait]
impl Factory for InMemory {
    async fn open(&self) -> Result<Arc<dyn Cache>, String> {
        Ok(Arc::new(MemoryCache::new(64 << 20)))
    }

    fn shares(&self) -> bool {
        false
    }
}

struct InRedis {
    options: RedisOptions,
    is_layered: bool,
}

impl InRedis {
    fn arc(is_layered: bool) -> Option<Arc<dyn Factory>> {
        Some(Arc::new(Self { options: here()?, is_layered }))
    }
}

#[async_trait]
impl Factory for InRedis {
    async fn open(&self) -> Result<Arc<dyn Cache>, String> {
        let redis = RedisCache::start(self.options.clone()).map_err(|error| error.to_string())?;
        redis.check().await.map_err(|error| error.to_string())?;
        if self.is_layered {
            return Ok(Arc::new(LayeredCache::new(MemoryCache::new(64 << 20), redis)));
        }
        Ok(Arc::new(redis))
    }

    fn shares(&self) -> bool {
        true
    }
}

mod memory {
    orderwire_cache::cache_conformance!(Some(std::sync::Arc::new(super::InMemory)));
}

mod redis {
    orderwire_cache::cache_conformance!(super::InRedis::arc(false));
}

mod layered {
    orderwire_cache::cache_conformance!(super::InRedis::arc(true));
}
