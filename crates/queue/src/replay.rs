//! Replays at a rate: which there are, how far each is, and how they are paced.
//!
//! They are of this process: a restart forgets them. What was put back stays in its
//! queue, and the rest are still dead letters, so that nothing but the pace is lost.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use orderwire_types::Scope;
use orderwire_types::scope::Clients;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::error::{Error, ErrorKind};
use crate::model::DeadFilter;

/// The highest rate of a replay, in letters per second.
pub const RATE_MAX: u32 = 10_000;
/// The most replays that run at once.
pub(crate) const RUNNING_MAX: usize = 4;
/// The most replays that are told of after their end; the oldest are forgotten first.
const ENDED_MAX: usize = 64;
/// What is due within this time goes as one piece.
const PIECE: Duration = Duration::from_millis(20);
/// How much of what a slow storage held up is made up for: a longer pause is no
/// reason for a burst.
const BEHIND: Duration = Duration::from_millis(100);

/// The id of a replay; another one after each restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplayId(pub Uuid);

impl fmt::Display for ReplayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for ReplayId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayState {
    /// It puts letters back.
    Running,
    /// Every letter that it selected was put back, by it or by somebody else, or is gone.
    Done,
    /// It was ended by a call.
    Cancelled,
    /// It was ended by a fault.
    Failed,
}

impl ReplayState {
    /// The word for it, at every edge.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// A replay at a rate, as it is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// Which letters, as it was asked; without the ids.
    pub filter: DeadFilter,
    /// How many ids it named, if it named letters by their ids.
    pub ids: Option<usize>,
    /// Letters per second, at most.
    pub rate: NonZeroU32,
    /// Who asked.
    pub principal: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How far it is.
    pub state: ReplayState,
    /// How many letters it selected; `None` until they are counted.
    pub matched: Option<u64>,
    /// How many of them it put back.
    pub done: u64,
    /// Why it failed.
    pub reason: Option<String>,
}

impl Replay {
    /// Whether it goes on.
    pub fn is_running(&self) -> bool {
        self.state == ReplayState::Running
    }
}

/// A replay while it is known: what is told of it, and how it is ended.
pub(crate) struct Record {
    id: ReplayId,
    /// Whose letters it may touch, and who asked.
    pub(crate) scope: Scope,
    pub(crate) told: watch::Sender<Replay>,
    cancelled: watch::Sender<bool>,
}

impl Record {
    pub(crate) fn new(replay: Replay, scope: Scope) -> Self {
        let cancelled = watch::Sender::new(false);
        Self { id: replay.id, scope, told: watch::Sender::new(replay), cancelled }
    }

    /// As it is now.
    pub(crate) fn now(&self) -> Replay {
        self.told.borrow().clone()
    }

    /// Asks it to end.
    pub(crate) fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    /// Returns when it was asked to end.
    pub(crate) async fn cancelled(&self) {
        // An error means that the sender is gone, which `self` holds.
        let _ = self.cancelled.subscribe().wait_for(|cancelled| *cancelled).await;
    }

    /// Waits for this, at most so long; as it is then.
    pub(crate) async fn wait(&self, longest: Duration, wanted: impl FnMut(&Replay) -> bool) -> Replay {
        let mut told = self.told.subscribe();
        // Out of time, the caller sees that it is not as wanted yet.
        let _ = tokio::time::timeout(longest, told.wait_for(wanted)).await;
        self.now()
    }
}

/// The replays of this process, in the order in which they began.
#[derive(Default)]
pub(crate) struct Replays(Mutex<VecDeque<Arc<Record>>>);

impl Replays {
    /// Takes a replay in, if there is room.
    ///
    /// # Errors
    /// `Busy`.
    pub(crate) fn add(&self, record: &Arc<Record>) -> Result<(), Error> {
        let mut all = self.lock();
        let is_running = |record: &&Arc<Record>| record.told.borrow().is_running();
        if all.iter().filter(is_running).count() >= RUNNING_MAX {
            return Err(Error::new(
                ErrorKind::Busy,
                format!("{RUNNING_MAX} replays are running, as many as may; wait for one or cancel it"),
            ));
        }
        all.push_back(Arc::clone(record));
        let mut ended = all.iter().filter(|record| !is_running(record)).count();
        all.retain(|record| {
            let drop = ended > ENDED_MAX && !is_running(&record);
            ended -= usize::from(drop);
            !drop
        });
        Ok(())
    }

    /// Those that are wholly within the scope.
    pub(crate) fn within(&self, scope: &Scope) -> Vec<Arc<Record>> {
        self.lock().iter().filter(|record| holds(scope, &record.scope)).cloned().collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn get(&self, scope: &Scope, id: ReplayId) -> Result<Arc<Record>, Error> {
        let found = self.within(scope).into_iter().find(|record| record.id == id);
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("replay {id} does not exist")))
    }

    /// How many run.
    pub(crate) fn running(&self) -> usize {
        self.lock().iter().filter(|record| record.told.borrow().is_running()).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Record>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether everything that `inner` may touch is within `outer`.
fn holds(outer: &Scope, inner: &Scope) -> bool {
    let clients = match (&outer.clients, &inner.clients) {
        (Clients::All, _) => true,
        (Clients::Only(outer), Clients::Only(inner)) => inner.is_subset(outer),
        (Clients::Only(_), Clients::All) => false,
    };
    let objects = match (&outer.objects, &inner.objects) {
        (None, _) => true,
        (Some(outer), Some(inner)) => inner.is_subset(outer),
        (Some(_), None) => false,
    };
    clients && objects
}

/// When letters are due: evenly over time, several at once only where they are
/// closer to each other than a commit is worth.
pub(crate) struct Pace {
    /// From one letter to the next.
    interval: Duration,
    /// When the next letter is due.
    next: Instant,
}

impl Pace {
    /// The first letter is due now.
    pub(crate) fn new(rate: NonZeroU32, now: Instant) -> Self {
        Self { interval: Duration::from_secs(1) / rate.get(), next: now }
    }

    /// When a piece is due.
    pub(crate) fn piece_at(&self) -> Instant {
        let letters = whole(PIECE, self.interval).max(1);
        self.next + self.interval * (letters - 1)
    }

    /// How many letters are due at this moment, at or after [`Self::piece_at`].
    pub(crate) fn due(&mut self, now: Instant) -> usize {
        if let Some(earliest) = now.checked_sub(BEHIND) {
            self.next = self.next.max(earliest);
        }
        let late = now.saturating_duration_since(self.next);
        usize::try_from(whole(late, self.interval)).unwrap_or(usize::MAX).saturating_add(1)
    }

    /// So many letters went.
    pub(crate) fn went(&mut self, letters: usize) {
        self.next += self.interval * u32::try_from(letters).unwrap_or(u32::MAX);
    }
}

/// How many intervals lie within a time, as a whole number.
fn whole(time: Duration, interval: Duration) -> u32 {
    u32::try_from(time.as_nanos() / interval.as_nanos().max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(rate: u32) -> NonZeroU32 {
        NonZeroU32::new(rate).unwrap()
    }

    /// How many letters go at which milliseconds, when each piece takes so long.
    fn run(per_second: u32, letters: usize, takes: Duration) -> Vec<(u128, usize)> {
        let start = Instant::now();
        let (mut pace, mut now, mut left) = (Pace::new(rate(per_second), start), start, letters);
        let mut pieces = Vec::new();
        while left > 0 {
            now = now.max(pace.piece_at());
            let piece = pace.due(now).min(left);
            pieces.push(((now - start).as_millis(), piece));
            pace.went(piece);
            left -= piece;
            now += takes;
        }
        pieces
    }

    #[test]
    fn few_letters_go_one_by_one_and_many_in_small_pieces() {
        assert_eq!(run(2, 3, Duration::ZERO), [(0, 1), (500, 1), (1_000, 1)]);
        assert_eq!(run(500, 30, Duration::ZERO), [(18, 10), (38, 10), (58, 10)]);
        let most = run(RATE_MAX, 10_000, Duration::ZERO);
        assert_eq!(most.last(), Some(&(999, 200)));
        assert!(most.iter().all(|(_, piece)| *piece == 200), "{most:?}");
    }

    #[test]
    fn a_slow_storage_slows_nothing_down_until_it_is_too_slow() {
        let slow = run(500, 1_000, Duration::from_millis(60));
        assert!((1_930..=2_060).contains(&slow.last().unwrap().0), "{slow:?}");
        // Ten pieces a second, none larger than a tenth of a second's letters.
        let slower = run(500, 1_000, Duration::from_millis(400));
        assert!(slower.iter().all(|(_, piece)| *piece <= 51), "{slower:?}");
    }
}
