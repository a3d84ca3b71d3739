//! Open loop: when requests are due, whatever the server does.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::sync::Semaphore;

use crate::args::Arrivals;

/// The moments at which requests are due, without an end. A copy tells the
/// same moments.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    start: Instant,
    rate: f64,
    /// Of random arrivals.
    rng: Option<Rng>,
    /// How many were told.
    told: u64,
    /// The last random arrival, in seconds after the start.
    last: f64,
}

impl Schedule {
    /// `rate` is in requests a second and above 0.
    pub(super) fn new(start: Instant, rate: f64, arrivals: Arrivals, seed: u32) -> Self {
        let rng = (arrivals == Arrivals::Poisson).then(|| Rng::with_seed(seed.into()));
        Self { start, rate, rng, told: 0, last: 0.0 }
    }
}

impl Iterator for Schedule {
    type Item = Instant;

    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 requests")]
    fn next(&mut self) -> Option<Instant> {
        let seconds = match &mut self.rng {
            Some(rng) => {
                // The pauses of a Poisson process are exponentially distributed.
                self.last -= (1.0 - rng.f64()).ln() / self.rate;
                self.last
            }
            // From the number each time: sums would drift.
            None => self.told as f64 / self.rate,
        };
        self.told += 1;
        Some(self.start + Duration::from_secs_f64(seconds))
    }
}

/// Releases requests when they are due.
#[derive(Debug)]
pub(super) struct Pacer {
    schedule: Schedule,
    end: Instant,
    released: Semaphore,
    /// The next to be taken; as far as it was told, requests were sent.
    takers: Mutex<Schedule>,
    late_max_us: AtomicU64,
}

impl Pacer {
    pub(super) fn new(schedule: Schedule, end: Instant) -> Self {
        let takers = Mutex::new(schedule.clone());
        Self { schedule, end, released: Semaphore::new(0), takers, late_max_us: AtomicU64::new(0) }
    }

    /// Needs a thread of its own: timers of the runtime are too coarse.
    pub(super) fn run(&self) {
        let end = self.end;
        let mut due = self.schedule.clone().take_while(|moment| *moment < end).peekable();
        while let Some(first) = due.next() {
            if let Some(wait) = first.checked_duration_since(Instant::now()) {
                std::thread::sleep(wait);
            }
            if self.released.is_closed() {
                return;
            }
            let now = Instant::now();
            let late = u64::try_from((now - first).as_micros()).unwrap_or(u64::MAX);
            self.late_max_us.fetch_max(late, Ordering::Relaxed);
            let mut ready = 1;
            while due.next_if(|moment| *moment <= now).is_some() {
                ready += 1;
            }
            self.released.add_permits(ready);
        }
    }

    /// When the next request was due; `None` at the end.
    pub(super) async fn next(&self) -> Option<Instant> {
        if self.end <= Instant::now() {
            return None;
        }
        let released = tokio::time::timeout_at(self.end.into(), self.released.acquire()).await;
        // Closed, it is the end as well.
        released.ok()?.ok()?.forget();
        self.takers.lock().expect("nobody panics while holding it").next()
    }

    /// Ends it early.
    pub(super) fn close(&self) {
        self.released.close();
    }

    /// How many requests were due between these moments and never taken.
    pub(super) fn not_taken(&self, from: Instant, to: Instant) -> u64 {
        let left = self.takers.lock().expect("nobody panics while holding it").clone();
        let due = left.take_while(|moment| *moment < to).filter(|moment| *moment >= from);
        due.count() as u64
    }

    /// How late the generator itself was, at worst.
    pub(super) fn late_max(&self) -> Duration {
        Duration::from_micros(self.late_max_us.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn uniform(start: Instant, rate: f64) -> Schedule {
        Schedule::new(start, rate, Arrivals::Uniform, 0)
    }

    #[test]
    fn uniform_requests_are_due_at_fixed_moments() {
        let start = Instant::now();
        let moments: Vec<_> = uniform(start, 100.0).take(3).map(|moment| moment - start).collect();
        assert_eq!(moments, [0, 10, 20].map(Duration::from_millis));
    }

    #[test]
    fn poisson_arrivals_have_their_rate_their_bursts_and_a_seed() {
        let start = Instant::now();
        let schedule = |seed| Schedule::new(start, 1_000.0, Arrivals::Poisson, seed);
        let moments: Vec<Instant> = schedule(7).take(20_000).collect();
        let seconds = (moments[19_999] - start).as_secs_f64();
        assert!((19.5..20.5).contains(&seconds), "{seconds}");
        // Of exponential pauses 1 - 1/e are shorter than the mean.
        let short = moments.windows(2).filter(|pair| pair[1] - pair[0] < Duration::from_millis(1)).count();
        assert!((12_400..12_900).contains(&short), "{short}");
        assert!(schedule(7).take(100).eq(schedule(7).take(100)));
        assert!(!schedule(7).take(100).eq(schedule(8).take(100)));
    }

    #[tokio::test]
    async fn what_was_due_and_not_taken_is_counted() {
        let start = Instant::now() - Duration::from_secs(60);
        let end = start + Duration::from_secs(60);
        let pacer = Pacer::new(uniform(start, 1.0), end);
        pacer.run();
        assert_eq!(pacer.released.available_permits(), 60);
        // The run is over: what is left counts as not sent.
        assert_eq!(pacer.next().await, None);
        assert_eq!(pacer.not_taken(start, end), 60);
        // Not what belongs to the warm-up, nor what is due after an early end.
        assert_eq!(pacer.not_taken(start + Duration::from_secs(10), start + Duration::from_secs(30)), 20);
        assert!(pacer.late_max() >= Duration::from_secs(59), "it began a minute late");
    }

    #[tokio::test]
    async fn every_request_that_was_due_is_handed_out() {
        let start = Instant::now();
        let pacer = Arc::new(Pacer::new(uniform(start, 1_000.0), start + Duration::from_millis(100)));
        let thread = std::thread::spawn({
            let pacer = pacer.clone();
            move || pacer.run()
        });
        let mut taken = 0;
        while pacer.next().await.is_some() {
            taken += 1;
        }
        thread.join().unwrap();
        assert!(taken >= 90, "{taken} of 100");
        assert_eq!(pacer.not_taken(start, start + Duration::from_millis(100)), 100 - taken);
    }

    #[tokio::test]
    async fn a_request_counts_from_when_it_was_due_however_late_it_is_taken() {
        let start = Instant::now() - Duration::from_secs(10);
        let pacer = Pacer::new(uniform(start, 1.0), start + Duration::from_secs(3_600));
        pacer.released.add_permits(2);
        assert_eq!(pacer.next().await, Some(start));
        assert_eq!(pacer.next().await, Some(start + Duration::from_secs(1)));
    }

    #[tokio::test]
    async fn a_closed_pacer_ends_its_takers_and_its_thread() {
        let start = Instant::now();
        let pacer = Pacer::new(uniform(start, 1_000.0), start + Duration::from_secs(3_600));
        pacer.close();
        assert_eq!(pacer.next().await, None);
        pacer.run();
    }
}
