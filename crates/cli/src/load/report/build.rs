//! From what was counted to the report.

use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::iterators::IterationValue;
use jiff::Timestamp;

use super::{Detail, Figures, Generator, Latency, Percentile, Ramp, Range, Report, Sample, Spread, Step};
use crate::args::Scenario;
use crate::load::machine::{Machine, Measurand};
use crate::load::measured::Measured;
use crate::load::ramp::{self, Climb, Objective};
use crate::load::settings::{Settings, name_of};

/// The points of the percentile table in each halving of the distance to 100.
const POINTS_PER_HALF: u32 = 5;

/// What surrounds a measurement.
pub(in crate::load) struct Surroundings {
    pub(in crate::load) begun_at: Timestamp,
    pub(in crate::load) server: Measurand,
    pub(in crate::load) machine: Machine,
}

impl Report {
    /// Of one run or several.
    pub(in crate::load) fn of_runs(settings: &Settings, runs: &[Measured], around: Surroundings) -> Self {
        let mut report = Self::empty(settings, around);
        report.rate = settings.rate;
        report.stopped = runs.iter().any(|run| run.stopped);
        let figures: Vec<Figures> = runs.iter().map(Figures::new).collect();
        if let [first, rest @ ..] = runs {
            let mut all = first.clone();
            rest.iter().for_each(|run| all.add(run));
            report.detail = Some(Detail::new(&all, runs));
        }
        if figures.len() > 1 {
            report.spread = Some(Spread::new(&figures));
            report.runs = figures;
        }
        report
    }

    /// Of a ramp.
    pub(in crate::load) fn of_ramp(
        settings: &Settings,
        objective: Objective,
        climb: &Climb<Measured>,
        around: Surroundings,
    ) -> Self {
        let mut report = Self::empty(settings, around);
        report.stopped = climb.stopped;
        let knee = climb.knee.map(|at| &climb.steps[at]);
        report.rate = knee.map(|step| step.rate);
        report.detail = knee.map(|step| Detail::new(&step.measured, std::slice::from_ref(&step.measured)));
        let step = |step: &ramp::Step<Measured>| Step {
            rate: step.rate,
            broken: step.broken.clone(),
            figures: Figures::new(&step.measured),
        };
        report.ramp = Some(Ramp {
            p99_ms: objective.p99_ms,
            error_percent: objective.error_percent,
            knee: report.rate,
            broke: climb.broke,
            steps: climb.steps.iter().map(step).collect(),
        });
        report
    }

    fn empty(settings: &Settings, around: Surroundings) -> Self {
        Self {
            scenario: name_of(&settings.scenario),
            connections: settings.connections,
            rate: None,
            unit: unit(settings.scenario),
            detail: None,
            runs: Vec::new(),
            spread: None,
            ramp: None,
            stopped: false,
            begun_at: around.begun_at,
            settings: settings.shown(),
            server: around.server,
            machine: around.machine,
        }
    }
}

/// What a scenario counts.
pub(in crate::load) fn unit(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::Single | Scenario::Batch => "events",
        Scenario::Row | Scenario::Rows => "rows",
        Scenario::Consume => "deliveries",
        Scenario::Read | Scenario::ReadCached | Scenario::ReadUncached => "answers",
        Scenario::Order => "orders",
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

impl Figures {
    fn new(measured: &Measured) -> Self {
        let requests = measured.latencies.len();
        let stages = measured.stages.iter().filter(|(_, times)| !times.is_empty());
        Self {
            seconds: measured.seconds,
            requests,
            requests_per_second: per_second(requests, measured.seconds),
            units_per_second: per_second(measured.units, measured.seconds),
            latency_ms: Latency::new(&measured.latencies),
            stages_ms: stages.map(|(name, times)| (*name, Latency::new(times))).collect(),
            errors: measured.errors.clone(),
            error_percent: measured.error_percent(),
            not_sent: measured.not_sent,
            generator: Generator {
                cores: measured.cores,
                late_ms_max: measured.late_max.as_secs_f64() * 1_000.0,
            },
        }
    }
}

impl Latency {
    fn new(times: &Histogram<u64>) -> Self {
        let at = |quantile: f64| millis(times.value_at_quantile(quantile));
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: millis(times.max()) }
    }
}

impl Detail {
    fn new(all: &Measured, runs: &[Measured]) -> Self {
        let mut requests = 0;
        let percentile = |point: IterationValue<u64>| {
            requests += point.count_since_last_iteration();
            Percentile {
                percentile: 100.0 * point.quantile_iterated_to(),
                ms: millis(point.value_iterated_to()),
                requests,
            }
        };
        let percentiles = all.latencies.iter_quantiles(POINTS_PER_HALF).map(percentile).collect();
        let samples = (1..).zip(runs).flat_map(|(run, measured)| {
            let whole = measured.samples.iter().filter(|(_, lasts, _)| *lasts > Duration::ZERO);
            whole.map(move |(at, lasts, sample)| {
                let ms = |quantile| millis(sample.latencies.value_at_quantile(quantile));
                Sample {
                    run,
                    at: at.as_secs_f64(),
                    seconds: lasts.as_secs_f64(),
                    requests_per_second: per_second(sample.latencies.len(), lasts.as_secs_f64()),
                    units_per_second: per_second(sample.units, lasts.as_secs_f64()),
                    errors: sample.errors,
                    p50_ms: ms(0.5),
                    p99_ms: ms(0.99),
                    max_ms: millis(sample.latencies.max()),
                }
            })
        });
        Self { figures: Figures::new(all), percentiles, samples: samples.collect() }
    }
}

impl Spread {
    fn new(runs: &[Figures]) -> Self {
        let range = |of: fn(&Figures) -> f64| Range::new(runs.iter().map(of).collect());
        Self {
            requests_per_second: range(|run| run.requests_per_second),
            units_per_second: range(|run| run.units_per_second),
            p50_ms: range(|run| run.latency_ms.p50),
            p99_ms: range(|run| run.latency_ms.p99),
        }
    }
}

impl Range {
    fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let (count, middle) = (values.len(), values.len() / 2);
        let median =
            if count % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Self { median, lowest: values[0], highest: values[count - 1] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        let odd = Range::new(vec![3.0, 1.0, 2.0]);
        assert_eq!((odd.median, odd.lowest, odd.highest), (2.0, 1.0, 3.0));
        assert_eq!(Range::new(vec![4.0, 1.0]).median, 2.5);
    }
}
