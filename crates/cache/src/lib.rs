//! The cache of serialised answers: the contract, and the in-process cache.
//!
//! Invariants: a cache may forget anything at any time; what it hands out is
//! a shared buffer, never a copy; it knows neither datasets nor HTTP.

mod memory;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use memory::MemoryCache;

/// The key of an answer: everything that it depends on, scope included.
pub type Key = Arc<str>;

/// A cached answer.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What makes the entry current; compared by whoever reads it.
    pub generation: u64,
    /// When the answer was computed, in microseconds since the epoch.
    pub computed_at_us: i64,
    /// The serialised answer.
    pub body: Bytes,
    /// Whatever describes the body: status, content type, validators; opaque here.
    pub meta: Bytes,
}

/// Why a cache cannot answer. Nobody fails because of it: reads go to the store.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cache: {0}")]
pub struct Error(pub String);

/// A cache of entries.
#[async_trait]
pub trait Cache: Send + Sync + 'static {
    /// The entry of this key, unless it is older than its time to live.
    async fn get(&self, key: &Key) -> Result<Option<Entry>, Error>;

    /// Keeps an entry for at most `ttl`.
    async fn put(&self, key: Key, entry: Entry, ttl: Duration) -> Result<(), Error>;

    /// Forgets the entry of this key.
    async fn forget(&self, key: &Key) -> Result<(), Error>;
}
