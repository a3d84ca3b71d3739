//! What was measured, for people and for scripts.

use std::collections::BTreeMap;

use serde::Serialize;

use super::drive::Measured;
use crate::args::{Load, Scenario};
use crate::out::{Table, count};

/// The figures of one run. Fields may be added.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    scenario: &'static str,
    connections: usize,
    /// Requests a second that were due; none in a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    seconds: f64,
    /// Requests that succeeded.
    pub(super) requests: u64,
    requests_per_second: f64,
    /// Of what the scenario counts: events, rows, deliveries, answers.
    unit: &'static str,
    units_per_second: f64,
    latency_ms: Latency,
    /// By status, or `connection`.
    errors: BTreeMap<String, u64>,
    /// Requests that were due and that no connection was free for.
    not_sent: u64,
}

#[derive(Clone, Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p999: f64,
    max: f64,
}

impl Report {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(super) fn new(args: &Load, measured: &Measured) -> Self {
        let millis = |micros: u64| micros as f64 / 1_000.0;
        let at = |quantile: f64| millis(measured.latencies.value_at_quantile(quantile));
        let requests = measured.latencies.len();
        let (scenario, unit) = match args.scenario {
            Scenario::Event => ("event", "events"),
            Scenario::Row => ("row", "rows"),
            Scenario::Rows => ("rows", "rows"),
            Scenario::Consume => ("consume", "deliveries"),
            Scenario::Read => ("read", "answers"),
        };
        Self {
            scenario,
            connections: args.connections,
            rate: args.rate,
            seconds: measured.seconds,
            requests,
            requests_per_second: requests as f64 / measured.seconds,
            unit,
            units_per_second: measured.units as f64 / measured.seconds,
            latency_ms: Latency {
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                p999: at(0.999),
                max: millis(measured.latencies.max()),
            },
            errors: measured.errors.clone(),
            not_sent: measured.not_sent,
        }
    }

    pub(super) fn table(&self) -> String {
        let mut figures =
            Table::new(["scenario", "connections", "seconds", "requests", "requests/s", "units/s"]);
        figures.row([
            self.scenario.to_owned(),
            self.connections.to_string(),
            format!("{:.1}", self.seconds),
            count(self.requests),
            format!("{:.0}", self.requests_per_second),
            format!("{:.0} {}", self.units_per_second, self.unit),
        ]);
        let mut latency = Table::new(["latency", "p50", "p90", "p99", "p99.9", "max"]);
        let Latency { p50, p90, p99, p999, max } = self.latency_ms;
        let from = if self.rate.is_some() { "since due, ms" } else { "since sent, ms" };
        let shown = [p50, p90, p99, p999, max].map(|millis| format!("{millis:.2}"));
        let [p50, p90, p99, p999, max] = shown;
        latency.row([from.to_owned(), p50, p90, p99, p999, max]);
        let mut out = format!("{}\n{}", figures.render(), latency.render());
        for (error, times) in &self.errors {
            out.push_str(&format!("failed: {} with {error}\n", count(*times)));
        }
        if self.not_sent > 0 {
            out.push_str(&format!("due and not sent: {} (no connection was free)\n", count(self.not_sent)));
        }
        out
    }
}
