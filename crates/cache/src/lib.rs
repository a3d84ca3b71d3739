//! The cache of serialised answers: the contract, the cache in this process, and the one
//! in a Redis, which several nodes share.
//!
//! Invariants: a cache may forget anything at any time; what is known in this process is
//! handed out as a shared buffer, never as a copy; a cache that is away costs no reader
//! more than one short time-out; it knows neither datasets nor HTTP.

mod layered;
mod memory;
mod redis;
#[cfg(feature = "testkit")]
pub mod testkit;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use self::redis::{Identity, Options as RedisOptions, RedisCache};
pub use layered::LayeredCache;
pub use memory::MemoryCache;

/// The key of an answer: everything that it depends on, scope included.
pub type Key = Arc<str>;

/// A cached answer.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The entry of this key, as far as it is known in this process: nobody else is asked.
    async fn near(&self, key: &Key) -> Option<Entry>;

    /// The entry of this key, unless its time to live is over. What others put in since
    /// goes before what is known in this process.
    ///
    /// # Errors
    /// Why nobody knows, within a short time.
    async fn get(&self, key: &Key) -> Result<Option<Entry>, Error>;

    /// Keeps an entry for at most `ttl`, instead of the one that has its key.
    ///
    /// # Errors
    /// Why it is not kept, within a short time. The one before may be left.
    async fn put(&self, key: Key, entry: Entry, ttl: Duration) -> Result<(), Error>;

    /// Forgets the entry of this key.
    ///
    /// # Errors
    /// Why it may not be forgotten, within a short time.
    async fn forget(&self, key: &Key) -> Result<(), Error>;

    /// Whether it answers, and keeps what it is given.
    ///
    /// # Errors
    /// Why it does not, within a short time.
    async fn check(&self) -> Result<(), Error>;
}
