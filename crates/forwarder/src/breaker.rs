//! The circuit breaker of an endpoint: while the endpoint is away nothing is leased for
//! it, so that what waits keeps its attempts.
//!
//! Closed, everything is posted. After some failures in a row it opens: nothing is
//! posted for a pause. Then it is half open: one event is tried. If that succeeds it
//! closes, if it fails it opens for twice as long.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orderwire_worker::Pause;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The longest that an endpoint may ask for with `Retry-After`.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// When an endpoint counts as away, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerOptions {
    /// So many failures in a row; 0 is taken as 1.
    pub failures: u32,
    /// The first pause: between half and all of it, by chance.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self { failures: 5, pause: Duration::from_secs(30), pause_max: Duration::from_secs(300) }
    }
}

/// The breaker of one endpoint.
pub(crate) struct Breaker {
    options: BreakerOptions,
    /// How many events are posted at once when it is closed.
    parallel: usize,
    state: Mutex<State>,
    places: watch::Sender<usize>,
    /// That it opened, or the end of its pause moved.
    opened: Notify,
}

#[derive(Clone, Copy, Debug)]
struct State {
    position: Position,
    /// Failures since the last success.
    failures: u32,
    /// How often it opened since it was closed last.
    openings: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    Closed,
    Open { until: Instant },
    HalfOpen,
}

/// How a breaker is at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) position: Position,
    pub(crate) failures: u32,
}

/// What an attempt changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    /// Nothing is posted for so long.
    Opened(Duration),
    /// The endpoint is there again.
    Closed,
}

impl Breaker {
    pub(crate) fn new(options: BreakerOptions, parallel: usize) -> Self {
        let parallel = parallel.max(1);
        Self {
            options,
            parallel,
            state: Mutex::new(State { position: Position::Closed, failures: 0, openings: 0 }),
            places: watch::Sender::new(parallel),
            opened: Notify::new(),
        }
    }

    /// How many events may be posted at once.
    pub(crate) fn places(&self) -> watch::Receiver<usize> {
        self.places.subscribe()
    }

    pub(crate) fn view(&self) -> View {
        let state = self.state();
        View { position: state.position, failures: state.failures }
    }

    /// The endpoint took an event: it is there, whatever was before.
    pub(crate) fn succeeded(&self) -> Change {
        let mut state = self.state();
        let was = state.position;
        *state = State { position: Position::Closed, failures: 0, openings: 0 };
        self.set_places(self.parallel);
        if was == Position::Closed { Change::Nothing } else { Change::Closed }
    }

    /// An attempt failed. With `hold` the endpoint asked for a pause of this length.
    pub(crate) fn failed(&self, hold: Option<Duration>) -> Change {
        let now = Instant::now();
        let hold = hold.map(|hold| hold.min(RETRY_AFTER_MAX));
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        let pause = match state.position {
            // Attempts that were under way when it opened say nothing new, unless the
            // endpoint asks for more.
            Position::Open { until } => match hold {
                Some(hold) if now + hold > until => hold,
                _ => return Change::Nothing,
            },
            Position::Closed if hold.is_none() && state.failures < self.options.failures.max(1) => {
                return Change::Nothing;
            }
            Position::Closed | Position::HalfOpen => {
                state.openings = state.openings.saturating_add(1);
                let pause = Pause { first: self.options.pause, last: self.options.pause_max };
                hold.unwrap_or_else(|| pause.after(state.openings))
            }
        };
        state.position = Position::Open { until: now + pause };
        self.set_places(0);
        drop(state);
        self.opened.notify_one();
        Change::Opened(pause)
    }

    /// Half opens it at the end of its pause, and returns then; waits for that for as long
    /// as it is closed. Somebody has to call this again and again.
    pub(crate) async fn half_open(&self) {
        loop {
            let Position::Open { until } = self.view().position else {
                self.opened.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = self.opened.notified() => continue,
            }
            let mut state = self.state();
            if matches!(state.position, Position::Open { until } if until <= Instant::now()) {
                state.position = Position::HalfOpen;
                self.set_places(1);
                return;
            }
        }
    }

    /// Whoever waits for places is told of changes only: a success is none as a rule.
    fn set_places(&self, places: usize) {
        self.places.send_if_modified(|former| std::mem::replace(former, places) != places);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Arc<Breaker> {
        let options = BreakerOptions { failures: 3, pause: 10 * SECOND, pause_max: 40 * SECOND };
        Arc::new(Breaker::new(options, 4))
    }

    fn kept(breaker: &Arc<Breaker>) -> watch::Receiver<usize> {
        let keeper = Arc::clone(breaker);
        tokio::spawn(async move {
            loop {
                keeper.half_open().await;
            }
        });
        breaker.places()
    }

    /// How long it takes until there are so many places.
    async fn until(places: &mut watch::Receiver<usize>, wanted: usize) -> Duration {
        let begin = Instant::now();
        places.wait_for(|places| *places == wanted).await.unwrap();
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_one_success_starts_the_count_anew() {
        let breaker = breaker();
        let places = breaker.places();
        for _ in 0..2 {
            assert_eq!(breaker.failed(None), Change::Nothing);
            assert_eq!(breaker.failed(None), Change::Nothing);
            assert_eq!(breaker.succeeded(), Change::Nothing);
        }
        assert_eq!(*places.borrow(), 4);
        breaker.failed(None);
        breaker.failed(None);
        assert!(matches!(breaker.failed(None), Change::Opened(_)));
        assert_eq!((*places.borrow(), breaker.view().failures), (0, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn after_each_pause_one_event_is_tried_and_pauses_double_to_a_bound() {
        let breaker = breaker();
        let mut places = kept(&breaker);
        breaker.failed(None);
        breaker.failed(None);
        for whole in [10, 20, 40, 40] {
            breaker.failed(None);
            assert_eq!(*places.borrow(), 0);
            // Those that were under way change nothing.
            assert_eq!(breaker.failed(None), Change::Nothing);
            let pause = until(&mut places, 1).await;
            assert!(pause >= whole * SECOND / 2 && pause <= whole * SECOND, "{pause:?} of {whole} s");
            assert_eq!(breaker.view().position, Position::HalfOpen);
        }
        assert_eq!(breaker.succeeded(), Change::Closed);
        assert_eq!(*places.borrow(), 4);
        // The next outage begins with the first pause.
        breaker.failed(None);
        breaker.failed(None);
        breaker.failed(None);
        assert!(until(&mut places, 1).await <= 10 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_asks_for_a_pause_gets_it_within_bounds() {
        let breaker = breaker();
        let mut places = kept(&breaker);
        assert_eq!(breaker.failed(Some(7 * SECOND)), Change::Opened(7 * SECOND));
        assert_eq!(breaker.failed(Some(2 * SECOND)), Change::Nothing, "it does not get shorter");
        assert_eq!(breaker.failed(Some(9 * SECOND)), Change::Opened(9 * SECOND));
        assert_eq!(until(&mut places, 1).await.as_secs(), 9);
        breaker.failed(Some(u32::MAX * SECOND));
        assert_eq!(until(&mut places, 1).await.as_secs(), RETRY_AFTER_MAX.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_closes_it_at_once() {
        let breaker = breaker();
        let mut places = kept(&breaker);
        breaker.failed(Some(600 * SECOND));
        assert_eq!(breaker.succeeded(), Change::Closed);
        assert_eq!(until(&mut places, 4).await, Duration::ZERO);
        assert_eq!((breaker.view().position, breaker.view().failures), (Position::Closed, 0));
    }
}
