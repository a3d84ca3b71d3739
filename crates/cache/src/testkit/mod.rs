//! The conformance suite of caches: every promise of [`crate::Cache`] as a named case that
//! any cache can be put to.
//!
//! ```text
//! orderwire_cache::cache_conformance!(MyFactory::arc());
//! ```
//!
//! Cases may run at the same time on one server: each has keys of its own. A case reports
//! what is broken as an error instead of a panic, so that [`twins`] can show that the suite
//! notices.

mod cases;
pub mod twins;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use orderwire_types::testkit::{Failed, Outcome};

pub use self::cases::cases;
use crate::{Cache, Entry, Error, Key};

/// Opens caches on one place (a process, a server).
#[async_trait]
pub trait Factory: Send + Sync {
    /// Opens a cache that answers. Called again for one of another node, which shares the
    /// entries if [`Factory::shares`].
    ///
    /// # Errors
    /// Why it cannot be opened, in plain words.
    async fn open(&self) -> Result<Arc<dyn Cache>, String>;

    /// Whether what one keeps is known by the others.
    fn shares(&self) -> bool;
}

/// A case of the suite.
pub type Case = orderwire_types::testkit::Case<dyn Factory>;

/// Puts a cache to the case of this name; for [`crate::cache_conformance`]. Without a
/// factory nothing is checked: who has none says so loudly.
///
/// # Panics
/// When the cache breaks the promise.
pub async fn check(name: &str, factory: Option<Arc<dyn Factory>>) {
    let case = cases().into_iter().find(|case| case.name == name).expect("a case of this name");
    let Some(factory) = factory else { return };
    if let Err(broken) = case.run(factory).await {
        panic!("{name}: {broken}");
    }
}

/// How long what has to come may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than any case.
const LONG: Duration = Duration::from_secs(600);

/// A cache under test, with keys of its own.
struct Bench {
    factory: Arc<dyn Factory>,
    cache: Arc<dyn Cache>,
    word: String,
}

impl Bench {
    async fn open(factory: Arc<dyn Factory>) -> Outcome<Self> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let word = format!("{now:x}-{:x}-{serial:x}", std::process::id());
        let cache = factory.open().await?;
        Ok(Self { factory, cache, word })
    }

    /// The cache of another node.
    async fn another(&self) -> Outcome<Arc<dyn Cache>> {
        Ok(self.factory.open().await?)
    }

    fn key(&self, rest: &str) -> Key {
        format!("{}\n{rest}", self.word).into()
    }

    async fn get(&self, key: &Key) -> Outcome<Option<Entry>> {
        got(&*self.cache, key).await
    }

    async fn put(&self, key: &Key, entry: &Entry, ttl: Duration) -> Outcome {
        self.cache.put(key.clone(), entry.clone(), ttl).await.map_err(|error| says("put", &error))
    }

    async fn forget(&self, key: &Key) -> Outcome {
        self.cache.forget(key).await.map_err(|error| says("forget", &error))
    }
}

async fn got(cache: &dyn Cache, key: &Key) -> Outcome<Option<Entry>> {
    cache.get(key).await.map_err(|error| says("get", &error))
}

fn says(what: &str, error: &Error) -> Failed {
    Failed(format!("{what}: {error}"))
}

fn entry(body: impl Into<Bytes>) -> Entry {
    let meta = Bytes::from_static(b"200 j\n\0\xff");
    Entry { generation: u64::MAX - 7, computed_at_us: 1_767_225_600_000_001, body: body.into(), meta }
}
