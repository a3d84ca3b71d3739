//! Flags of `module`: the programs of the products that ship.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use orderwire_types::DatasetName;

/// `orderwire module …`. A release runs them; by hand they are for trying things out.
#[derive(Clone, Debug, Subcommand)]
pub enum Module {
    /// A simulated air-quality station that posts what it measures as rows.
    Sensor(Sensor),
    /// A server of a folder of static files, on this machine only.
    Web(Web),
    /// A program that misbehaves in a chosen way, for demonstrations and tests.
    Broken {
        /// How.
        #[arg(long, value_enum)]
        how: How,
    },
}

/// Flags of `module sensor`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The server and the key come from ORDERWIRE_URL and ORDERWIRE_API_KEY, the trace from TRACEPARENT or
ORDERWIRE_TRACE_ID: a release sets them. One JSON line is printed for each post.

Example:
  ORDERWIRE_URL=http://127.0.0.1:8080 ORDERWIRE_API_KEY=$(cat orderwire-data/admin.key) \\
    orderwire module sensor --station air-station-01 --interval-ms 500 --count 10")]
pub struct Sensor {
    /// The dataset that takes the rows; it has the columns of examples/air-quality.
    #[arg(long, default_value = "air")]
    pub dataset: DatasetName,
    /// The name of the station; what it measures follows from it.
    #[arg(long)]
    pub station: String,
    /// The time between two measurements.
    #[arg(long, default_value_t = 1_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=86_400_000))]
    pub interval_ms: u64,
    /// End after this many measurements; without it, at SIGTERM.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
}

/// Flags of `module web`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  orderwire module web --folder site --port 8090")]
pub struct Web {
    /// The folder; its `index.html` answers `/`.
    #[arg(long, value_name = "DIR")]
    pub folder: PathBuf,
    /// The port on 127.0.0.1, 0 takes a free one; else PORT_HTTP, else PORT.
    #[arg(long)]
    pub port: Option<u16>,
}

/// How `module broken` misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum How {
    /// Ends at once with code 3 and a last word on stderr.
    Exits,
    /// Runs without ever saying or answering that it is ready.
    NeverReady,
    /// Starts detached processes in sessions of their own and goes on.
    LeavesChildren,
    /// Does not end at SIGTERM.
    IgnoresTerm,
    /// Does not misbehave.
    Works,
    /// What `leaves-children` starts.
    #[value(hide = true)]
    Detached,
}
