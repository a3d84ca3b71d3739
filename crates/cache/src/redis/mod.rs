//! Entries in a Redis, which several nodes share.
//!
//! Each entry is a string of its own, with a time to live; its key is a hash of ours behind
//! a prefix, so that neither long nor hostile keys reach the server. How much is kept is the
//! server's `maxmemory`, and what it drops then its `maxmemory-policy`.
//!
//! Invariants: no call waits for a connection, only for an answer, and that for a short
//! time; a call that gets none ends the connection for all, and until a task of its own has
//! made another, calls fail at once; no error and no debug output holds credentials.

mod line;
mod options;
mod value;

use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use self::line::Line;
pub use self::options::{Identity, Options};
use crate::{Cache, Entry, Error, Key};

/// The longest time to live: a year, in milliseconds.
const TTL_MS_MAX: u64 = 365 * 86_400_000;

/// A cache in a Redis.
#[derive(Debug)]
pub struct RedisCache {
    line: Line,
    prefix: String,
    entry_bytes_max: usize,
    is_usable: fn(&Entry) -> bool,
}

impl RedisCache {
    /// Begins to connect, in a task of the tokio runtime that it is called in, which goes
    /// on until the cache is dropped. Until then calls fail at once.
    ///
    /// # Errors
    /// The settings are wrong, or a file that they name cannot be read; in plain words.
    pub fn start(options: Options) -> Result<Self, Error> {
        let Options { entry_bytes_max, is_usable, .. } = options;
        let prefix = options.prefix.clone();
        Ok(Self { line: Line::start(options)?, prefix, entry_bytes_max, is_usable })
    }

    /// The entry of this key, with what is left of its time to live.
    pub(crate) async fn look(&self, key: &Key) -> Result<Option<(Entry, Duration)>, Error> {
        let name = self.name(key);
        // Nobody knows who else writes there, or has written. What is cut is no entry.
        let end = self.entry_bytes_max;
        let mut asked = redis::pipe();
        asked.cmd("GETRANGE").arg(&name).arg(0).arg(end).cmd("PTTL").arg(&name);
        let (bytes, left_ms): (Vec<u8>, i64) = self.line.ask(&asked).await?;
        // An entry without a time to live is none of ours.
        let left = u64::try_from(left_ms).ok().filter(|left| *left > 0).map(Duration::from_millis);
        Ok(value::decode(bytes.into()).filter(|entry| (self.is_usable)(entry)).zip(left))
    }

    /// What the server knows a key by.
    fn name(&self, key: &Key) -> String {
        let hash: String = Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}:{hash}", self.prefix)
    }
}

#[async_trait]
impl Cache for RedisCache {
    async fn near(&self, _: &Key) -> Option<Entry> {
        None
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, Error> {
        Ok(self.look(key).await?.map(|(entry, _)| entry))
    }

    async fn put(&self, key: Key, entry: Entry, ttl: Duration) -> Result<(), Error> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).min(TTL_MS_MAX);
        let bytes = value::encode(&entry);
        if ttl_ms == 0 || bytes.len() > self.entry_bytes_max {
            return self.forget(&key).await;
        }
        let mut given = redis::cmd("SET");
        given.arg(self.name(&key)).arg(bytes).arg("PX").arg(ttl_ms);
        self.line.give(&given).await
    }

    async fn forget(&self, key: &Key) -> Result<(), Error> {
        let mut asked = redis::pipe();
        asked.cmd("UNLINK").arg(self.name(key)).ignore();
        self.line.ask(&asked).await
    }

    async fn check(&self) -> Result<(), Error> {
        let mut given = redis::cmd("SET");
        given.arg(format!("{}:check", self.prefix)).arg("").arg("PX").arg(1_000);
        self.line.check(&given).await
    }
}
