//! The charts of a report.

use super::axis::{Axis, number};
use super::chart::{Chart, Curve, Mark, Rule};
use crate::load::report::{Detail, Percentile, Ramp, Report, Sample, Step};

/// How slow the slowest of so many are.
pub(super) fn percentiles(detail: &Detail, since: &str) -> Chart {
    let points = &detail.percentiles;
    #[expect(clippy::cast_precision_loss, reason = "a place on an axis")]
    let requests = detail.figures.requests as f64;
    let place = |point: &Percentile| {
        let one_of = 1.0 / (1.0 - point.percentile / 100.0);
        // The slowest is one of all.
        (one_of.min(requests.max(1.0)), point.ms)
    };
    let mut rules = Vec::new();
    for (name, one_of, ms) in
        [("p99", 100.0, detail.figures.latency_ms.p99), ("p99.9", 1_000.0, detail.figures.latency_ms.p999)]
    {
        if requests >= one_of {
            rules.push(Rule::UpFromFoot(one_of, format!("{name} {} ms", number(ms))));
        }
    }
    Chart {
        title: "Latency by percentile",
        x: Axis::nines(requests, "percentile"),
        y: Axis::log(points.iter().map(|point| point.ms), format!("latency {since}, ms")),
        curves: vec![Curve { name: None, class: "c1", points: points.iter().map(place).collect() }],
        rules,
        marks: Vec::new(),
    }
}

/// Units a second, second by second.
pub(super) fn throughput(report: &Report, detail: &Detail) -> Chart {
    let time = Time::of(&detail.samples);
    let mut curves = vec![time.curve(&format!("{}/s", report.unit), "c1", |sample| sample.units_per_second)];
    let several = |sample: &Sample| sample.units_per_second > sample.requests_per_second * 1.5;
    let several = detail.samples.iter().any(several);
    if several {
        curves.push(time.curve("requests/s", "c2", |sample| sample.requests_per_second));
    }
    if detail.samples.iter().any(|sample| sample.errors > 0) {
        #[expect(clippy::cast_precision_loss, reason = "a place on an axis")]
        curves.push(time.curve("errors/s", "c4", |sample| sample.errors as f64 / sample.seconds));
    }
    // Where a request is a unit.
    if let (Some(rate), false) = (report.rate, several) {
        let points = vec![(0.0, rate), (time.end, rate)];
        curves.push(Curve { name: Some("due".to_owned()), class: "rule", points });
    }
    let values = curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.1));
    let y = Axis::from_zero(values, "each second");
    Chart { title: "Throughput over time", x: time.axis(), y, curves, rules: time.rules(), marks: Vec::new() }
}

/// Median, p99 and slowest, second by second.
pub(super) fn latency(detail: &Detail, since: &str) -> Chart {
    let time = Time::of(&detail.samples);
    let curves = vec![
        time.curve("p50", "c1", |sample| sample.p50_ms),
        time.curve("p99", "c2", |sample| sample.p99_ms),
        time.curve("max", "c3", |sample| sample.max_ms),
    ];
    let values = detail.samples.iter().flat_map(|sample| [sample.p50_ms, sample.max_ms]);
    let y = Axis::log(values, format!("latency {since}, ms"));
    Chart { title: "Latency over time", x: time.axis(), y, curves, rules: time.rules(), marks: Vec::new() }
}

/// What each rate did to p99, with the knee.
pub(super) fn ramp(ramp: &Ramp) -> Chart {
    let mut best: Vec<&Step> = ramp.steps.iter().filter(|step| step.figures.requests > 0).collect();
    let mark = |step: &&Step| Mark {
        at: (step.rate, step.figures.latency_ms.p99),
        good: step.broken.is_none(),
        title: format!(
            "{} requests/s: p99 {} ms, {}",
            number(step.rate),
            number(step.figures.latency_ms.p99),
            step.broken.as_deref().unwrap_or("kept")
        ),
    };
    let marks = best.iter().map(mark).collect();
    let p99 = ramp.steps.iter().map(|step| step.figures.latency_ms.p99).chain([ramp.p99_ms]);
    let y = Axis::log(p99, "p99 since due, ms");
    let x = Axis::from_zero(ramp.steps.iter().map(|step| step.rate), "requests a second that were due");
    // Of two measurements of a rate the later one counts.
    best.reverse();
    best.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    best.dedup_by(|a, b| a.rate == b.rate);
    let points = best.iter().map(|step| (step.rate, step.figures.latency_ms.p99)).collect();
    let mut rules = vec![Rule::Across(ramp.p99_ms, format!("objective {} ms", number(ramp.p99_ms)))];
    rules.extend(ramp.knee.map(|knee| Rule::Up(knee, format!("knee {} requests/s", number(knee)))));
    Chart {
        title: "p99 by rate",
        x,
        y,
        curves: vec![Curve { name: None, class: "c1", points }],
        rules,
        marks,
    }
}

/// Runs one after the other.
struct Time<'a> {
    samples: &'a [Sample],
    /// When each run begins.
    begins: Vec<f64>,
    end: f64,
}

impl<'a> Time<'a> {
    fn of(samples: &'a [Sample]) -> Self {
        let (mut begins, mut end) = (Vec::new(), 0.0);
        for sample in samples {
            if sample.run > begins.len() {
                begins.push(end);
            }
            end = begins[begins.len() - 1] + sample.at + sample.seconds;
        }
        Self { samples, begins, end }
    }

    fn axis(&self) -> Axis {
        Axis::up_to(self.end.max(1.0), "seconds")
    }

    /// Each value in the middle of its sample, interrupted between runs.
    fn curve(&self, name: &str, class: &'static str, of: fn(&Sample) -> f64) -> Curve {
        let mut points = Vec::new();
        let mut run = 1;
        for sample in self.samples {
            if sample.run != run {
                points.push((0.0, f64::NAN));
                run = sample.run;
            }
            points.push((self.begins[run - 1] + sample.at + sample.seconds / 2.0, of(sample)));
        }
        Curve { name: Some(name.to_owned()), class, points }
    }

    fn rules(&self) -> Vec<Rule> {
        let numbered = (2..).zip(self.begins.iter().skip(1));
        numbered.map(|(run, begin)| Rule::Up(*begin, format!("run {run}"))).collect()
    }
}
