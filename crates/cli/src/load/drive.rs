//! Keeps the connections busy and takes their times.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::http::{Connection, Target};
use super::scenario::{Plan, Round};
use crate::args::{Load, Scenario};
use crate::error::Error;
use crate::server::Server;

/// Latencies are kept in microseconds, up to two minutes, to three digits.
const LATENCY_MAX_US: u64 = 120_000_000;
/// After a refusal or a broken connection: failing fast is no load.
const PAUSE: Duration = Duration::from_millis(10);

/// What was measured.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) latencies: Histogram<u64>,
    /// Events, rows or deliveries.
    pub(super) units: u64,
    /// By status, or `connection`.
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) last_error: Option<String>,
    /// Requests that were due within the time and never sent.
    pub(super) not_sent: u64,
    /// How long the measurement lasted.
    pub(super) seconds: f64,
}

impl Measured {
    fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("the bounds are sound");
        Self { latencies, units: 0, errors: BTreeMap::new(), last_error: None, not_sent: 0, seconds: 0.0 }
    }

    fn add(&mut self, other: Self) {
        self.latencies.add(&other.latencies).expect("all have the same bounds");
        self.units += other.units;
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
        self.last_error = other.last_error.or(self.last_error.take());
    }
}

/// The moments of a run.
#[derive(Clone, Copy, Debug)]
struct Times {
    start: Instant,
    /// From here on it counts.
    measure: Instant,
    end: Instant,
}

pub(super) async fn drive(args: &Load, server: &Server, plan: Plan) -> Result<Measured, Error> {
    let target = Target::new(server.base())?;
    let start = Instant::now();
    // What `consume` takes is gone: warming up would take it unmeasured.
    let warm_up = if args.scenario == Scenario::Consume { 0 } else { args.warm_up };
    let measure = start + Duration::from_secs(warm_up);
    let times = Times { start, measure, end: measure + Duration::from_secs(args.duration) };
    let pacer = args.rate.map(|rate| Arc::new(Pacer::new(rate, times)));
    let plan = Arc::new(plan);
    let number = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..args.connections {
        let worker = Worker {
            connection: Connection::new(target.clone()),
            plan: plan.clone(),
            number: number.clone(),
            pacer: pacer.clone(),
            times,
        };
        tasks.spawn(worker.run());
    }
    if let Some(pacer) = pacer.clone() {
        // A thread of its own: timers of the runtime are too coarse.
        std::thread::spawn(move || pacer.run());
    }
    let mut all = Measured::new();
    while let Some(measured) = tasks.join_next().await {
        all.add(measured.map_err(|error| Error::failed(format!("a connection's task failed: {error}")))?);
    }
    // What was still under way at the end counts, and so does its time.
    all.seconds = times.measure.elapsed().as_secs_f64().max(0.001);
    if let (Some(pacer), Some(rate)) = (pacer, args.rate) {
        all.seconds = all.seconds.min(args.duration as f64);
        all.not_sent = due(rate, times.end - times.start).saturating_sub(pacer.taken.load(Ordering::Relaxed));
    }
    Ok(all)
}

/// How many requests are due within this time.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and far below 2^64")]
fn due(rate: f64, time: Duration) -> u64 {
    (time.as_secs_f64() * rate).ceil() as u64
}

/// Releases requests when they are due.
#[derive(Debug)]
struct Pacer {
    rate: f64,
    times: Times,
    released: Semaphore,
    taken: AtomicU64,
}

impl Pacer {
    fn new(rate: f64, times: Times) -> Self {
        Self { rate, times, released: Semaphore::new(0), taken: AtomicU64::new(0) }
    }

    /// When a request is due.
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 requests")]
    fn moment(&self, number: u64) -> Instant {
        self.times.start + Duration::from_secs_f64(number as f64 / self.rate)
    }

    fn run(&self) {
        let total = due(self.rate, self.times.end - self.times.start);
        let mut number = 0;
        while number < total {
            if let Some(wait) = self.moment(number).checked_duration_since(Instant::now()) {
                std::thread::sleep(wait);
            }
            let mut ready = 1;
            let now = Instant::now();
            while number + ready < total && self.moment(number + ready) <= now {
                ready += 1;
            }
            self.released.add_permits(usize::try_from(ready).unwrap_or(usize::MAX));
            number += ready;
        }
    }

    /// When the next request was due; `None` at the end.
    async fn next(&self) -> Option<Instant> {
        if self.times.end <= Instant::now() {
            return None;
        }
        let released = tokio::time::timeout_at(self.times.end.into(), self.released.acquire()).await;
        released.ok()?.expect("nobody closes it").forget();
        Some(self.moment(self.taken.fetch_add(1, Ordering::Relaxed)))
    }
}

struct Worker {
    connection: Connection,
    plan: Arc<Plan>,
    number: Arc<AtomicU64>,
    pacer: Option<Arc<Pacer>>,
    times: Times,
}

impl Worker {
    async fn run(mut self) -> Measured {
        let mut measured = Measured::new();
        loop {
            let begun = match &self.pacer {
                Some(pacer) => match pacer.next().await {
                    Some(due) => due,
                    None => break,
                },
                None => Instant::now(),
            };
            if begun >= self.times.end {
                break;
            }
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            let round = self.plan.round(&mut self.connection, number).await;
            let counts = begun >= self.times.measure;
            let (error, reason) = match round {
                Round::Empty => break,
                Round::Done(units) => {
                    if counts {
                        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                        measured.latencies.saturating_record(micros.max(1));
                        measured.units += units;
                    }
                    continue;
                }
                Round::Refused(status, reason) => (status.to_string(), reason),
                Round::Broken(reason) => ("connection".to_owned(), reason),
            };
            if counts {
                *measured.errors.entry(error).or_default() += 1;
            }
            measured.last_error = Some(reason);
            if self.pacer.is_none() {
                tokio::time::sleep(PAUSE).await;
            }
        }
        measured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(milliseconds: u64) -> Times {
        let start = Instant::now();
        Times { start, measure: start, end: start + Duration::from_millis(milliseconds) }
    }

    #[test]
    fn requests_are_due_at_fixed_moments() {
        let pacer = Pacer::new(100.0, times(1_000));
        assert_eq!(pacer.moment(25) - pacer.times.start, Duration::from_millis(250));
        assert_eq!(due(100.0, Duration::from_secs(1)), 100);
        assert_eq!(due(0.5, Duration::from_secs(1)), 1);
    }

    #[tokio::test]
    async fn a_late_taker_gets_the_moment_when_it_was_due() {
        let mut run = times(60_000);
        run.start -= Duration::from_secs(60);
        run.end = run.start + Duration::from_secs(60);
        let pacer = Pacer::new(1.0, run);
        pacer.run();
        assert_eq!(pacer.released.available_permits(), 60);
        // The run is over: what is left counts as not sent.
        assert_eq!(pacer.next().await, None);
        assert_eq!(pacer.taken.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn every_request_that_was_due_is_handed_out() {
        let pacer = Pacer::new(1_000.0, times(100));
        let pacer = Arc::new(pacer);
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
        assert_eq!(pacer.taken.load(Ordering::Relaxed), taken);
    }

    #[tokio::test]
    async fn a_request_counts_from_when_it_was_due_however_late_it_is_taken() {
        let mut run = times(0);
        run.start -= Duration::from_secs(10);
        run.end = run.start + Duration::from_secs(3_600);
        let pacer = Pacer::new(1.0, run);
        pacer.released.add_permits(2);
        assert_eq!(pacer.next().await, Some(run.start));
        assert_eq!(pacer.next().await, Some(run.start + Duration::from_secs(1)));
        assert!(run.start.elapsed() >= Duration::from_secs(10), "which is long ago");
    }
}
