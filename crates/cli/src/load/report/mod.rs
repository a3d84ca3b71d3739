//! What was measured, for scripts: the shape of `--output json`. Fields may be
//! added.

mod build;
mod table;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

pub(super) use build::{Surroundings, unit};

use super::machine::{Machine, Measurand};

/// Everything that is known about a measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) scenario: String,
    pub(super) connections: usize,
    /// Requests a second that were due; none in a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rate: Option<f64>,
    /// What the scenario counts.
    pub(super) unit: &'static str,
    /// Of all runs, or of the knee of a ramp; absent when there is none.
    #[serde(flatten)]
    pub(super) detail: Option<Detail>,
    /// Of several runs each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) runs: Vec<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) spread: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ramp: Option<Ramp>,
    /// Somebody stopped it early.
    pub(super) stopped: bool,
    pub(super) begun_at: Timestamp,
    #[serde(serialize_with = "in_order")]
    pub(super) settings: Vec<(&'static str, String)>,
    pub(super) server: Measurand,
    /// Where the generator ran.
    pub(super) machine: Machine,
}

/// The figures of a run, or of several together.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    pub(super) seconds: f64,
    /// Requests that succeeded.
    pub(super) requests: u64,
    pub(super) requests_per_second: f64,
    pub(super) units_per_second: f64,
    pub(super) latency_ms: Latency,
    /// Times within a request that are told apart.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "in_order")]
    pub(super) stages_ms: Vec<(&'static str, Latency)>,
    /// By status, or in a word.
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) error_percent: f64,
    /// Requests that were due and that no connection was free for.
    pub(super) not_sent: u64,
    pub(super) generator: Generator,
}

/// What the generator itself cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Generator {
    /// How many cores it was busy on.
    pub(super) cores: f64,
    /// How late it was with a request that was due, at worst.
    pub(super) late_ms_max: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    #[serde(rename = "p99.9")]
    pub(super) p999: f64,
    pub(super) max: f64,
}

/// Figures with what the plots show.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Detail {
    #[serde(flatten)]
    pub(super) figures: Figures,
    pub(super) percentiles: Vec<Percentile>,
    pub(super) samples: Vec<Sample>,
}

/// So many of 100 requests were answered within this time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Percentile {
    pub(super) percentile: f64,
    pub(super) ms: f64,
    /// How many requests these are.
    pub(super) requests: u64,
}

/// A second of a run; longer in a run of more than ten minutes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Sample {
    /// Of which run, from 1.
    pub(super) run: usize,
    /// When it began, and how long it lasted, in seconds.
    pub(super) at: f64,
    pub(super) seconds: f64,
    pub(super) requests_per_second: f64,
    pub(super) units_per_second: f64,
    pub(super) errors: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

/// How runs differ.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Spread {
    pub(super) requests_per_second: Range,
    pub(super) units_per_second: Range,
    pub(super) p50_ms: Range,
    pub(super) p99_ms: Range,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Range {
    pub(super) median: f64,
    pub(super) lowest: f64,
    pub(super) highest: f64,
}

/// The search for the breaking point.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Ramp {
    pub(super) p99_ms: f64,
    pub(super) error_percent: f64,
    /// The highest rate that kept the objective, in requests a second; null when none did.
    pub(super) knee: Option<f64>,
    /// Whether some rate broke the objective.
    pub(super) broke: bool,
    /// In the order in which they were measured.
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Step {
    /// Requests a second that were due.
    pub(super) rate: f64,
    /// Why it broke the objective; null when it kept it.
    pub(super) broken: Option<String>,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

/// An object with its members in this order.
fn in_order<T: Serialize, S: Serializer>(
    all: &[(&'static str, T)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(all.iter().map(|(name, value)| (name, value)))
}

impl Report {
    /// Where latency is counted from.
    pub(super) fn since(&self) -> &'static str {
        if self.rate.is_some() || self.ramp.is_some() { "since due" } else { "since sent" }
    }
}
