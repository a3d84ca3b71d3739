//! Logs and metrics: set-up only. Everyone else emits through the `tracing`
//! and `metrics` facades and knows nothing of where it goes.
//!
//! - Logs go to stderr, one JSON object a line (readable text on a terminal),
//!   so that stdout belongs to what a command prints.
//! - Metrics are rendered on demand in the Prometheus text format.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("setting up telemetry: {0}")]
pub struct Error(String);

/// What is not logged unless it is asked for by name: the AMQP client tells every message
/// that comes back with its body, and as an error what is none (a queue that is looked for
/// and not there); the client of PostgreSQL tells the values of every statement. What matters of them
/// is told by their users.
const SILENT: &str = "lapin=off,tokio_postgres=off";

/// Starts logging. `filter` is a level (`info`) or directives
/// (`info,orderwire_queue=debug`).
///
/// # Errors
/// For a filter that is no directive, or when logging was started before.
pub fn start_logs(filter: &str) -> Result<(), Error> {
    let asked = format!("{SILENT},{filter}");
    let filter = EnvFilter::try_new(asked).map_err(|e| Error(format!("log filter {filter:?}: {e}")))?;
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = if std::io::stderr().is_terminal() {
        registry.with(layer.compact().with_target(false)).try_init()
    } else {
        registry.with(layer.json().flatten_event(true).with_current_span(false)).try_init()
    };
    started.map_err(|e| Error(e.to_string()))
}

/// The metrics of this process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// Upper bounds in seconds: from a cached read to a slow dependency.
const SECONDS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Upper bounds of everything that is counted in pieces.
const PIECES: [f64; 9] = [1.0, 2.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0];

/// How often [`Metrics::upkeep`] wants to be called.
pub const UPKEEP_EVERY: std::time::Duration = std::time::Duration::from_secs(5);

/// Starts collecting metrics for the whole process.
///
/// # Errors
/// When a recorder was installed before.
pub fn start_metrics() -> Result<Metrics, Error> {
    let recorder = PrometheusBuilder::new()
        .set_buckets(&PIECES)
        .map_err(|e| Error(e.to_string()))?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .map_err(|e| Error(e.to_string()))?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|e| Error(e.to_string()))?;
    Ok(Metrics(handle))
}

impl Metrics {
    /// Puts samples into their buckets. Every sample is kept until then, so
    /// that a server that nobody scrapes needs this from time to time.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }

    /// The present values in the Prometheus text format.
    pub fn render(&self) -> String {
        self.upkeep();
        self.0.render()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_metric_is_rendered_and_a_bad_filter_refused() {
        let metrics = super::start_metrics().unwrap();
        metrics::counter!("orderwire_test_total").increment(2);
        metrics::histogram!("orderwire_test_seconds").record(0.003);
        metrics::histogram!("orderwire_test_ops").record(3.0);
        let text = metrics.render();
        assert!(text.contains("orderwire_test_total 2"), "{text}");
        assert!(text.contains("orderwire_test_seconds_bucket{le=\"0.005\"} 1"), "{text}");
        assert!(text.contains("orderwire_test_ops_bucket{le=\"4\"} 1"), "{text}");
        assert!(super::start_logs("info,=!").is_err());
    }
}
