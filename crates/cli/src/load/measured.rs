//! What a run measured, as it is counted.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Latencies are kept in microseconds, up to two minutes, to three digits.
const LATENCY_MAX_US: u64 = 120_000_000;
/// Those of a sample to two: they are for the eye.
const SAMPLE_DIGITS: u8 = 2;
/// Of a longer run each sample covers more than a second.
const SAMPLES_MAX: u32 = 600;
const STAGES_MAX: usize = 3;

/// The times of the stages of a request, in the order of the plan's names.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Stages([Option<Duration>; STAGES_MAX]);

impl Stages {
    pub(super) fn set(&mut self, stage: usize, time: Duration) {
        self.0[stage] = Some(time);
    }
}

/// A request that succeeded.
#[derive(Debug)]
pub(super) struct Success {
    /// From the start of the measurement to the answer.
    pub(super) at: Duration,
    pub(super) latency: Duration,
    /// Events, rows, deliveries, answers or orders.
    pub(super) units: u64,
    pub(super) stages: Stages,
}

/// What was measured.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) latencies: Histogram<u64>,
    /// Times within a request that are told apart, by name.
    pub(super) stages: Vec<(&'static str, Histogram<u64>)>,
    pub(super) units: u64,
    /// By status, or in a word.
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) last_error: Option<String>,
    /// Requests that were due within the time and never sent.
    pub(super) not_sent: u64,
    /// How long the measurement lasted.
    pub(super) seconds: f64,
    /// When the last request succeeded, from the start of the measurement.
    pub(super) last_at: Duration,
    pub(super) samples: Samples,
    /// How many cores the generator was busy on.
    pub(super) cores: f64,
    /// How late the generator was with a request, at worst.
    pub(super) late_max: Duration,
    /// There was nothing left to consume.
    pub(super) drained: bool,
    /// Somebody asked to stop before the end.
    pub(super) stopped: bool,
}

impl Measured {
    /// Nothing yet; `duration` is that of the measurement.
    pub(super) fn new(duration: Duration, stages: &[&'static str]) -> Self {
        Self {
            latencies: latencies(),
            stages: stages.iter().map(|name| (*name, latencies())).collect(),
            units: 0,
            errors: BTreeMap::new(),
            last_error: None,
            not_sent: 0,
            seconds: 0.0,
            last_at: Duration::ZERO,
            samples: Samples::new(duration),
            cores: 0.0,
            late_max: Duration::ZERO,
            drained: false,
            stopped: false,
        }
    }

    pub(super) fn success(&mut self, success: &Success) {
        let latency = micros(success.latency);
        self.latencies.saturating_record(latency);
        self.units += success.units;
        self.last_at = self.last_at.max(success.at);
        for ((_, histogram), time) in self.stages.iter_mut().zip(success.stages.0) {
            if let Some(time) = time {
                histogram.saturating_record(micros(time));
            }
        }
        if let Some(sample) = self.samples.of(success.at) {
            sample.units += success.units;
            sample.latencies.saturating_record(latency);
        }
    }

    pub(super) fn failure(&mut self, at: Duration, error: &str) {
        match self.errors.get_mut(error) {
            Some(count) => *count += 1,
            None => {
                self.errors.insert(error.to_owned(), 1);
            }
        }
        if let Some(sample) = self.samples.of(at) {
            sample.errors += 1;
        }
    }

    /// Requests that failed.
    pub(super) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Failures of 100 requests that were sent.
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub(super) fn error_percent(&self) -> f64 {
        let failed = self.failed();
        100.0 * failed as f64 / (self.latencies.len() + failed).max(1) as f64
    }

    /// Adds what another run measured; samples follow one another.
    pub(super) fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("all have the same bounds");
        for ((_, mine), (_, theirs)) in self.stages.iter_mut().zip(&other.stages) {
            mine.add(theirs).expect("all have the same bounds");
        }
        self.units += other.units;
        for (error, count) in &other.errors {
            *self.errors.entry(error.clone()).or_default() += count;
        }
        self.last_error = other.last_error.clone().or(self.last_error.take());
        self.not_sent += other.not_sent;
        // Weighted by time, which the sum of both is not yet.
        let seconds = self.seconds + other.seconds;
        self.cores = (self.cores * self.seconds + other.cores * other.seconds) / seconds;
        self.seconds = seconds;
        self.late_max = self.late_max.max(other.late_max);
        self.drained |= other.drained;
        self.stopped |= other.stopped;
    }
}

fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("the bounds are sound")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// What happened from second to second.
#[derive(Clone, Debug)]
pub(super) struct Samples {
    duration: Duration,
    every: Duration,
    all: Vec<Sample>,
}

#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) units: u64,
    pub(super) errors: u64,
    pub(super) latencies: Histogram<u64>,
}

impl Samples {
    fn new(duration: Duration) -> Self {
        Self { duration, every: Duration::from_secs(1).max(duration / SAMPLES_MAX), all: Vec::new() }
    }

    /// The sample of a moment; none of what ends after the end, when less and
    /// less is under way.
    fn of(&mut self, at: Duration) -> Option<&mut Sample> {
        if at >= self.duration {
            return None;
        }
        let number = usize::try_from(at.as_nanos() / self.every.as_nanos()).expect("there are few samples");
        while self.all.len() <= number {
            let latencies =
                Histogram::new_with_bounds(1, LATENCY_MAX_US, SAMPLE_DIGITS).expect("the bounds are sound");
            self.all.push(Sample { units: 0, errors: 0, latencies });
        }
        self.all.get_mut(number)
    }

    /// Each with its begin and its length.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Duration, Duration, &Sample)> {
        (0u32..).zip(&self.all).map(|(number, sample)| {
            let begin = self.every * number;
            (begin, self.every.min(self.duration.saturating_sub(begin)), sample)
        })
    }

    /// Ends, maybe earlier than was planned: also seconds in which nothing ended
    /// are samples.
    pub(super) fn end(&mut self, duration: Duration) {
        self.duration = self.duration.min(duration);
        self.of(self.duration.saturating_sub(Duration::from_nanos(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn success(at: u64, latency: u64) -> Success {
        Success { at: ms(at), latency: ms(latency), units: 2, stages: Stages::default() }
    }

    #[test]
    fn samples_are_of_their_second_and_end_with_the_run() {
        let mut measured = Measured::new(ms(2_500), &[]);
        for (at, latency) in [(100, 5), (900, 7), (2_400, 9), (2_600, 1_000)] {
            measured.success(&success(at, latency));
        }
        measured.failure(ms(2_100), "503");
        let seen = measured.samples.iter().map(|(at, lasts, one)| (at, lasts, one.units, one.errors));
        let seen = seen.collect::<Vec<_>>();
        assert_eq!(
            seen,
            [(ms(0), ms(1_000), 4, 0), (ms(1_000), ms(1_000), 0, 0), (ms(2_000), ms(500), 2, 1)]
        );
        // What ended after the end is in the figures all the same.
        assert_eq!((measured.latencies.len(), measured.units), (4, 8));
    }

    #[test]
    fn seconds_without_an_answer_are_samples_and_an_early_end_has_none_behind_it() {
        let mut measured = Measured::new(ms(10_000), &[]);
        measured.samples.end(ms(3_500));
        let seen: Vec<_> = measured.samples.iter().map(|(at, lasts, _)| (at, lasts)).collect();
        let second = |number: u64| (ms(1_000 * number), ms(1_000));
        assert_eq!(seen, [second(0), second(1), second(2), (ms(3_000), ms(500))]);
        let mut measured = Measured::new(ms(2_000), &[]);
        measured.samples.end(ms(2_700));
        assert_eq!(measured.samples.iter().count(), 2);
    }

    #[test]
    fn a_long_run_has_longer_samples() {
        let mut measured = Measured::new(Duration::from_secs(6_000), &[]);
        measured.success(&success(5_999_000, 1));
        assert_eq!(measured.samples.iter().count(), 600);
        assert_eq!(measured.samples.iter().last().unwrap().1, Duration::from_secs(10));
    }

    #[test]
    fn runs_are_added_up() {
        let run = |latency, cores, seconds| {
            let mut run = Measured::new(ms(1_000), &["lease", "ack"]);
            let mut stages = Stages::default();
            stages.set(1, ms(latency));
            run.success(&Success { stages, ..success(0, latency) });
            run.failure(ms(0), "503");
            (run.cores, run.seconds, run.not_sent) = (cores, seconds, 3);
            run
        };
        let mut all = run(10, 1.0, 1.0);
        all.add(&run(30, 0.5, 3.0));
        assert_eq!((all.latencies.len(), all.units, all.not_sent, all.failed()), (2, 4, 6, 2));
        assert_eq!((all.seconds, all.cores, all.error_percent()), (4.0, 0.625, 50.0));
        assert_eq!((all.stages[0].1.len(), all.stages[1].1.len()), (0, 2));
    }
}
