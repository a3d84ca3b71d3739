//! One line on stderr while it runs, where somebody looks.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::drive::Run;
use super::measured::Measured;
use crate::out::count;

/// The line.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    unit: &'static str,
}

impl Progress {
    /// How often it is renewed.
    pub(super) const EVERY: Duration = Duration::from_millis(250);

    pub(super) fn new(unit: &'static str) -> Self {
        // Draws nothing when stderr is no terminal.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix}{msg}").expect("the template is sound");
        Self { bar: bar.with_style(style), unit }
    }

    /// What is going on: `run 1 of 3`.
    pub(super) fn now(&self, what: String) {
        self.bar.set_message("");
        self.bar.set_prefix(what);
        self.bar.tick();
    }

    /// How far a run is; `at` is zero while it warms up.
    pub(super) fn show(&self, measured: &Measured, at: Duration, run: &Run) {
        if !self.bar.is_hidden() {
            self.bar.set_message(format!(": {}", line(measured, at, run, self.unit)));
            self.bar.tick();
        }
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]
fn line(measured: &Measured, at: Duration, run: &Run, unit: &str) -> String {
    let (at, of) = (at.as_secs_f64(), run.duration.as_secs_f64());
    if at <= 0.0 {
        return "warming up".to_owned();
    }
    if at > of {
        return "waiting for what is under way".to_owned();
    }
    let rate = (measured.units as f64 / at) as u64;
    let p99 = measured.latencies.value_at_quantile(0.99) as f64 / 1_000.0;
    let mut line = format!("{at:.0} of {of:.0} s, {} {unit}/s, p99 {p99:.1} ms", count(rate));
    if measured.failed() > 0 {
        line.push_str(&format!(", {} errors", count(measured.failed())));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::measured::{Stages, Success};

    #[test]
    fn the_line_says_how_far_and_how_fast() {
        let run = Run {
            connections: 1,
            warm_up: Duration::ZERO,
            duration: Duration::from_secs(10),
            pace: None,
            seed: 0,
        };
        let mut measured = Measured::new(run.duration, &[]);
        let (at, latency) = (Duration::ZERO, Duration::from_millis(3));
        measured.success(&Success { at, latency, units: 4_000, stages: Stages::default() });
        let line = |measured: &Measured, at| line(measured, Duration::from_secs(at), &run, "events");
        assert_eq!(line(&measured, 0), "warming up");
        assert_eq!(line(&measured, 2), "2 of 10 s, 2,000 events/s, p99 3.0 ms");
        measured.failure(at, "503");
        assert!(line(&measured, 2).ends_with(", 1 errors"));
        assert_eq!(line(&measured, 11), "waiting for what is under way");
    }
}
