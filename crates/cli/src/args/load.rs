//! Flags of `load`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Flags of `load`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Latency counts from the moment a request was due (with --rate or --ramp), else from the moment it was sent. \
Ctrl-C ends a run early and reports what was measured. Exit code 1 means that no request succeeded, or that \
no rate of a ramp kept the objective. What the figures mean, and how to plan a machine with them: docs/load.md.

Examples:
  orderwire load single
  orderwire load single --rate 1000 --arrivals poisson --duration 60 --html single.html
  orderwire load single --ramp --from 500 --p99 50 --error-rate 0.1 --html knee.html
  orderwire load batch --batch 1000 --payload 512:80,4096:15,65536:5
  orderwire load rows --connections 8 --runs 5
  orderwire load consume --prefill 200000 --batch 100 --keys 1000
  orderwire load read --path /api/v1/measures/air --no-key
  orderwire load read-uncached --path '/rest/air?no2=gt.-{i}&limit=100'
  orderwire load order --connections 4 --duration 30")]
pub struct Load {
    /// What to do, over and over.
    #[arg(value_enum)]
    pub scenario: Scenario,
    /// Connections at once [default: 64; 8 of `order`].
    #[arg(long, value_name = "N")]
    pub connections: Option<usize>,
    /// How long to measure, in seconds, after the warm-up.
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS", conflicts_with = "ramp")]
    pub duration: f64,
    /// How long to warm up before each run or step, in seconds; `consume` does not.
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    pub warm_up: f64,
    /// How many runs; with several, their median and spread are shown.
    #[arg(long, default_value_t = 1, value_name = "N", conflicts_with = "ramp")]
    pub runs: usize,
    /// Requests a second, due whatever the server does; without it, every
    /// connection asks as fast as it is answered.
    #[arg(long, value_name = "N", conflicts_with = "ramp")]
    pub rate: Option<f64>,
    /// How the requests of a rate are spread over time [default: uniform].
    #[arg(long, value_enum)]
    pub arrivals: Option<Arrivals>,
    /// What chance is drawn from, to repeat a run; printed with the figures.
    #[arg(long, value_name = "N")]
    pub seed: Option<u32>,
    /// Also write the report as one HTML file with plots.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Send no key, as callers of a public view, even if there is one.
    #[arg(long)]
    pub no_key: bool,
    /// What each request is about.
    #[command(flatten)]
    pub work: Work,
    /// The search for the breaking point.
    #[command(flatten)]
    pub course: Ramp,
}

/// What each request is about.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What is sent")]
pub struct Work {
    /// Bytes of an event's payload: one size, a range, or sizes with weights
    /// as in 512:80,4096:15,65536:5 [default: 512].
    #[arg(long, value_name = "SIZES")]
    pub payload: Option<String>,
    /// Events of `batch`, rows of `rows`, the most deliveries of a lease of
    /// `consume` [default: 500].
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Clients among which events, rows and orders are spread [default: 1].
    #[arg(long, value_name = "N")]
    pub clients: Option<usize>,
    /// Partition keys of each client, sent as CloudEvents; 1 sends none
    /// [default: 1; of `consume` as many as connections].
    #[arg(long, value_name = "N")]
    pub keys: Option<usize>,
    /// Prefer some clients and keys: the exponent of a Zipf distribution, where
    /// 1 is common; 0 takes them in turn [default: 0].
    #[arg(long, value_name = "EXPONENT")]
    pub skew: Option<f64>,
    /// Send CloudEvents with an id each instead of plain JSON, also for one key.
    #[arg(long)]
    pub cloudevents: bool,
    /// Events that wait in the queue before `consume` begins; 0 consumes what is
    /// there [default: 100000].
    #[arg(long, value_name = "N")]
    pub prefill: Option<u64>,
    /// The path that is read. In that of `read-uncached`, {i} is another number
    /// each time [default: one of a dataset of its own; of `read` none].
    #[arg(long)]
    pub path: Option<String>,
}

/// The search for the breaking point.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Breaking point")]
pub struct Ramp {
    /// Raise the rate until the objective breaks, and report the knee: the
    /// highest rate that kept it.
    #[arg(long)]
    pub ramp: bool,
    /// The first rate, in requests a second.
    #[arg(long, default_value_t = 100.0, value_name = "N", requires = "ramp")]
    pub from: f64,
    /// By what each rate is multiplied to get the next.
    #[arg(long, default_value_t = 1.5, value_name = "FACTOR", requires = "ramp", conflicts_with = "step")]
    pub factor: f64,
    /// What is added to each rate instead.
    #[arg(long, value_name = "N", requires = "ramp")]
    pub step: Option<f64>,
    /// How long each step is measured, in seconds.
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS", requires = "ramp")]
    pub step_seconds: f64,
    /// How often the gap between the last good and the first bad rate is halved.
    #[arg(long, default_value_t = 4, value_name = "N", requires = "ramp")]
    pub refine: u32,
    /// The objective: 99 of 100 requests are answered within so many milliseconds.
    #[arg(long, default_value_t = 100.0, value_name = "MS", requires = "ramp")]
    pub p99: f64,
    /// The objective: at most so many of 100 requests fail.
    #[arg(long, default_value_t = 0.1, value_name = "PERCENT", requires = "ramp")]
    pub error_rate: f64,
}

/// What `load` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Single events to a task queue of its own.
    Single,
    /// Batches of events, as NDJSON or CloudEvents.
    Batch,
    /// Single rows to a dataset of its own.
    Row,
    /// Batches of rows, as NDJSON.
    Rows,
    /// Lease and ack the events of its queue.
    Consume,
    /// Read a path, wherever the answers come from.
    Read,
    /// Read what the cache has; an answer that is not from it counts as an error.
    ReadCached,
    /// Ask another question each time; an answer from the cache counts as an error.
    ReadUncached,
    /// Order a release, wait until it is ready, remove it.
    Order,
}

/// How the requests of a rate are spread over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Arrivals {
    /// The same pause between any two.
    #[default]
    Uniform,
    /// At random, as independent callers do: a Poisson process.
    Poisson,
}
