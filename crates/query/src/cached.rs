//! The cache layer: what is fresh is handed out, what is not is loaded by one
//! reader for all.
//!
//! Invariants:
//! - the generation of the dataset is read before its rows, and a strict
//!   reader joins only a load that began under the generation that it saw:
//!   nobody gets an answer older than a write that was recorded before the
//!   read;
//! - one flight at a time per key (and generation): it asks the cache beyond this
//!   process, and then the store; a reader that goes away leaves it to the others, the
//!   last one to go ends it;
//! - a compressed answer is made of one that is kept, has its age and generation, and is
//!   made once for all that wait for it;
//! - a failed load is never kept; a failing cache is as good as an empty one.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use orderwire_cache::{Cache, Entry, Key};

use crate::error::{Error, ErrorKind};
use crate::options::{Clock, Options};

/// How old an answer may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// Never older than what was recorded when the read began.
    #[default]
    Strict,
    /// At most this old.
    Within(Duration),
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// The cache.
    Hit,
    /// The cache, past its time, because the store cannot answer.
    Stale,
    /// The store.
    Miss,
    /// The store, read for another caller.
    Collapsed,
    /// The store; the cache was not asked.
    Bypass,
}

impl Source {
    /// Whether the answer was computed before this read.
    pub(crate) fn is_cached(self) -> bool {
        matches!(self, Self::Hit | Self::Stale)
    }

    /// The name in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Bypass => "bypass",
        }
    }
}

/// An answer and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) entry: Entry,
    pub(crate) source: Source,
    /// In whole seconds.
    pub(crate) age: u64,
}

/// What is asked of the layer.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) key: Key,
    /// The dataset's generation, read when the request came.
    pub(crate) generation: u64,
    pub(crate) freshness: Freshness,
    /// The upper bound of everything that is handed out.
    pub(crate) ttl: Duration,
}

impl Ask {
    fn age_us(entry: &Entry, now_us: i64) -> u64 {
        // A clock that was set back makes an entry new, never a huge age.
        u64::try_from(now_us.saturating_sub(entry.computed_at_us)).unwrap_or(0)
    }

    fn is_fresh(&self, entry: &Entry, now_us: i64) -> bool {
        self.may_serve(entry, now_us)
            && match self.freshness {
                Freshness::Strict => entry.generation == self.generation,
                Freshness::Within(span) => u128::from(Self::age_us(entry, now_us)) < span.as_micros(),
            }
    }

    /// Whether it is young enough to be better than nothing.
    fn may_serve(&self, entry: &Entry, now_us: i64) -> bool {
        u128::from(Self::age_us(entry, now_us)) <= self.ttl.as_micros()
    }
}

/// What a load brings: body and meta of an entry.
pub(crate) type Load = BoxFuture<'static, Result<(bytes::Bytes, bytes::Bytes), Error>>;
type Work = BoxFuture<'static, Result<Landed, Error>>;
type Flight = Shared<Work>;
/// The key, the generation of strict readers, and of what answer a compressed one is made.
type FlightKey = (Key, Option<u64>, i64);

/// What a flight brings to all that wait for it.
#[derive(Clone, Debug)]
struct Landed {
    entry: Entry,
    /// Where it is from, when not from the store.
    cached: Option<Source>,
}

/// The layer.
#[derive(Clone)]
pub(crate) struct Cached {
    cache: Arc<dyn Cache>,
    flights: Arc<Mutex<Flights>>,
    clock: Clock,
    bytes_max: usize,
    wait_max: Duration,
}

#[derive(Default)]
struct Flights {
    next: u64,
    by_key: HashMap<FlightKey, (u64, WeakShared<Work>)>,
}

impl Cached {
    pub(crate) fn new(cache: Arc<dyn Cache>, options: &Options) -> Self {
        Self {
            cache,
            flights: Arc::default(),
            clock: options.clock.clone(),
            bytes_max: options.cached_bytes,
            // The store ends a read in time; this is for a store that does not.
            wait_max: options.time_out + Duration::from_secs(2),
        }
    }

    /// The answer of this key; `load` is called when there is none that is fresh.
    pub(crate) async fn read(&self, ask: Ask, load: impl FnOnce() -> Load) -> Result<Found, Error> {
        let near = self.cache.near(&ask.key).await;
        let now = self.clock.now_us();
        if let Some(entry) = &near
            && ask.is_fresh(entry, now)
        {
            return Ok(found(entry.clone(), Source::Hit, now));
        }
        let (flight, source) = self.take_off(&ask, load);
        match (self.in_time(flight).await, near) {
            (Ok(Landed { entry, cached }), _) => {
                Ok(found(entry, cached.unwrap_or(source), self.clock.now_us()))
            }
            // A flight that does not land has nothing to say of what is kept.
            (Err(error), Some(entry))
                if error.kind() == ErrorKind::Unavailable && ask.may_serve(&entry, now) =>
            {
                Ok(found(entry, Source::Stale, now))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// The answer of this key in another form, which is kept under the key `coded` and made by
    /// `code` of the answer itself; where that brings nothing, the answer itself.
    pub(crate) async fn read_coded(
        &self,
        ask: Ask,
        coded: Key,
        load: impl FnOnce() -> Load,
        code: impl FnOnce(&Entry) -> Option<Load>,
    ) -> Result<Found, Error> {
        let near = self.cache.near(&coded).await;
        let now = self.clock.now_us();
        if let Some(entry) = &near
            && ask.is_fresh(entry, now)
        {
            return Ok(found(entry.clone(), Source::Hit, now));
        }
        let plain = match (self.read(ask.clone(), load).await, near) {
            (Ok(plain), _) => plain,
            (Err(error), Some(entry))
                if error.kind() == ErrorKind::Unavailable && ask.may_serve(&entry, now) =>
            {
                return Ok(found(entry, Source::Stale, now));
            }
            (Err(error), _) => return Err(error),
        };
        // Nothing is made of what is given out only because the store is away.
        let Some(work) = code(&plain.entry).filter(|_| plain.source != Source::Stale) else {
            return Ok(plain);
        };
        let flight_key = (coded.clone(), Some(plain.entry.generation), plain.entry.computed_at_us);
        let (flight, _) = self.board(flight_key, |landing| {
            let Entry { generation, computed_at_us, .. } = plain.entry;
            self.fly_coded(Ask { key: coded, generation, ..ask }, computed_at_us, work, landing).boxed()
        });
        match self.in_time(flight).await {
            Ok(Landed { entry, .. }) => Ok(Found { entry, ..plain }),
            // The answer is there, only larger.
            Err(error) => {
                tracing::debug!(%error, "an answer was not compressed");
                Ok(plain)
            }
        }
    }

    fn fly_coded(
        &self,
        ask: Ask,
        computed_at_us: i64,
        work: Load,
        landing: Landing,
    ) -> impl Future<Output = Result<Landed, Error>> + use<> {
        let this = self.clone();
        async move {
            let _landing = landing;
            let same =
                |kept: &Entry| kept.generation == ask.generation && kept.computed_at_us == computed_at_us;
            if let Some(entry) = this.lookup(&ask.key).await.filter(same) {
                return Ok(Landed { entry, cached: None });
            }
            let (body, meta) = work.await?;
            let entry = Entry { generation: ask.generation, computed_at_us, body, meta };
            this.keep(ask, &entry).await;
            Ok(Landed { entry, cached: None })
        }
    }

    async fn keep(&self, ask: Ask, entry: &Entry) {
        if entry.body.len() <= self.bytes_max
            && let Err(error) = self.cache.put(ask.key, entry.clone(), ask.ttl).await
        {
            cache_failed("put", &error);
        }
    }

    /// An answer from the store, which is not kept.
    pub(crate) async fn bypass(&self, generation: u64, load: Load) -> Result<Found, Error> {
        let now = self.clock.now_us();
        let (body, meta) = self.in_time(load).await?;
        Ok(found(Entry { generation, computed_at_us: now, body, meta }, Source::Bypass, now))
    }

    async fn lookup(&self, key: &Key) -> Option<Entry> {
        match self.cache.get(key).await {
            Ok(entry) => entry,
            Err(error) => {
                cache_failed("get", &error);
                None
            }
        }
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::time::timeout(self.wait_max, work).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unavailable, "PGRST000", "the store did not answer in time"))
        })
    }

    /// The load that is under way for what is asked, or a new one.
    fn take_off(&self, ask: &Ask, load: impl FnOnce() -> Load) -> (Flight, Source) {
        let generation = (ask.freshness == Freshness::Strict).then_some(ask.generation);
        let key = (ask.key.clone(), generation, 0);
        self.board(key, |landing| self.fly(ask.clone(), load(), landing).boxed())
    }

    /// The flight that is under way for this key, or a new one.
    fn board(&self, key: FlightKey, fly: impl FnOnce(Landing) -> Work) -> (Flight, Source) {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        // Moved out of the lock: a flight that is dropped removes itself.
        if let Some(flight) = flights.by_key.get(&key).and_then(|(_, flight)| flight.upgrade()) {
            return (flight, Source::Collapsed);
        }
        flights.next += 1;
        let landing = Landing { flights: self.flights.clone(), key: key.clone(), id: flights.next };
        let flight = fly(landing).shared();
        let weak = flight.downgrade().expect("a flight that was never polled is not over");
        let id = flights.next;
        flights.by_key.insert(key, (id, weak));
        (flight, Source::Miss)
    }

    fn fly(
        &self,
        ask: Ask,
        load: Load,
        landing: Landing,
    ) -> impl Future<Output = Result<Landed, Error>> + use<> {
        let this = self.clone();
        let work = async move {
            let _landing = landing;
            // Another flight may have landed between this reader's look and its take-off,
            // of this node or another.
            let kept = this.lookup(&ask.key).await;
            let now = this.clock.now_us();
            if let Some(entry) = &kept
                && ask.is_fresh(entry, now)
            {
                return Ok(Landed { entry: entry.clone(), cached: Some(Source::Hit) });
            }
            let (body, meta) = match (load.await, kept) {
                (Ok(loaded), _) => loaded,
                (Err(error), Some(entry))
                    if error.kind() == ErrorKind::Unavailable && ask.may_serve(&entry, now) =>
                {
                    return Ok(Landed { entry, cached: Some(Source::Stale) });
                }
                (Err(error), _) => return Err(error),
            };
            let entry = Entry { generation: ask.generation, computed_at_us: now, body, meta };
            this.keep(ask, &entry).await;
            Ok(Landed { entry, cached: None })
        };
        AssertUnwindSafe(work).catch_unwind().map(|landed| {
            landed.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Internal, "PGRSTX00", "the read failed; see the server's log"))
            })
        })
    }
}

/// Takes a flight off the list when it ends, however it ends.
struct Landing {
    flights: Arc<Mutex<Flights>>,
    key: FlightKey,
    id: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.by_key.get(&self.key).is_some_and(|(id, _)| *id == self.id) {
            flights.by_key.remove(&self.key);
        }
    }
}

fn found(entry: Entry, source: Source, now_us: i64) -> Found {
    let age = if source.is_cached() { Ask::age_us(&entry, now_us) / 1_000_000 } else { 0 };
    Found { entry, source, age }
}

/// Not one log line per read: a cache that is away would fill the log.
fn cache_failed(operation: &'static str, error: &orderwire_cache::Error) {
    metrics::counter!("orderwire_query_cache_errors_total", "operation" => operation).increment(1);
    tracing::debug!(%error, operation, "cache failed; the store answers");
}

#[cfg(test)]
mod tests;
