//! The time, behind a seam: nothing in this crate asks the system by itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

/// How long a sleep goes on before the clock is asked again, because the
/// system's clock may be set while a timer runs.
const NAP: Duration = Duration::from_secs(30);

/// A source of time. Clones share it.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    moved: Option<watch::Receiver<Timestamp>>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::new(Timestamp::now)
    }

    /// A clock that asks `now`; it is taken to run as fast as tokio's timers.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { now: Arc::new(now), moved: None }
    }

    /// A clock that starts at `start` and follows tokio's time, which tests pause.
    pub fn following_tokio(start: Timestamp) -> Self {
        let begin = tokio::time::Instant::now();
        Self::new(move || after(start, begin.elapsed()))
    }

    /// A clock that stands still until it is moved by hand.
    pub fn manual(start: Timestamp) -> (Self, ManualClock) {
        let (sender, receiver) = watch::channel(start);
        let manual = ManualClock { time: Arc::new(sender) };
        let time = receiver.clone();
        (Self { now: Arc::new(move || *time.borrow()), moved: Some(receiver) }, manual)
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// Returns at or after the moment `at`, by this clock.
    pub async fn sleep_until(&self, at: Timestamp) {
        if let Some(moved) = &self.moved {
            // An error means that nobody can move the clock any more.
            if moved.clone().wait_for(|now| *now >= at).await.is_err() {
                std::future::pending::<()>().await;
            }
            return;
        }
        loop {
            let now = self.now();
            if now >= at {
                return;
            }
            tokio::time::sleep(between(now, at).min(NAP)).await;
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// The hand that moves a [`Clock::manual`].
#[derive(Clone, Debug)]
pub struct ManualClock {
    time: Arc<watch::Sender<Timestamp>>,
}

impl ManualClock {
    /// The time that the clock shows.
    pub fn now(&self) -> Timestamp {
        *self.time.borrow()
    }

    /// Moves the clock forward and wakes whoever slept until then.
    pub fn advance(&self, by: Duration) {
        self.time.send_modify(|now| *now = after(*now, by));
    }
}

/// The moment that lies `by` after `at`; the end of time at most.
pub(crate) fn after(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// The moment that lies `by` before `at`; the beginning of time at least.
pub(crate) fn before(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// How long it is from `start` to `end`; nothing when `end` is not later.
pub(crate) fn between(start: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(start)).unwrap_or_default()
}
