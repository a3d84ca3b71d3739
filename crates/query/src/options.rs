//! What a query server needs to know beside its store and cache.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

/// Limits and times of reads.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most rows of one answer; a cut answer is 206.
    pub rows: usize,
    /// The most bytes of one answer, one row more at most; a cut answer is 206.
    pub answer_bytes: usize,
    /// How long a read of the store may take.
    pub time_out: Duration,
    /// The longest query string, in bytes.
    pub query_bytes: usize,
    /// The deepest nesting of `and` and `or`.
    pub depth: usize,
    /// The most conditions, and the most columns of an order, of one query.
    pub conditions: usize,
    /// The most values of all `in` lists of one query.
    pub values: usize,
    /// Whether answers of `/rest` are cached (until the dataset changes).
    pub cache_rest: bool,
    /// The longest that an answer is kept where nothing else says so.
    pub ttl: Duration,
    /// The largest answer that is kept, in bytes.
    pub cached_bytes: usize,
    /// What time it is.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rows: 1_000_000,
            answer_bytes: 64 << 20,
            time_out: Duration::from_secs(10),
            query_bytes: 32 << 10,
            depth: 16,
            conditions: 256,
            values: 2_000,
            cache_rest: true,
            ttl: Duration::from_secs(3_600),
            cached_bytes: 16 << 20,
            clock: Clock::system(),
        }
    }
}

impl Options {
    /// Small limits, so that a test reaches them.
    pub fn for_testing() -> Self {
        Self {
            rows: 1_000,
            answer_bytes: 1 << 20,
            query_bytes: 4 << 10,
            depth: 4,
            conditions: 16,
            values: 50,
            ..Self::default()
        }
    }
}

/// What time it is: a seam, so that a test need not wait for an hour to pass.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::from_fn(Timestamp::now)
    }

    /// A clock of one's own.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The present moment, in microseconds since the epoch.
    pub(crate) fn now_us(&self) -> i64 {
        (self.0)().as_microsecond()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
