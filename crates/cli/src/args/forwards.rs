//! Flags of `forward`.

use clap::{Subcommand, ValueEnum};

/// `orderwire forward …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Forward {
    /// List the endpoints that get events, and how each is doing.
    List,
    /// Show what was tried at an endpoint, newest first.
    Log {
        /// The endpoint.
        name: String,
        /// Only attempts that ended so.
        #[arg(long, value_enum)]
        outcome: Option<Outcome>,
        /// Only attempts at this event.
        #[arg(long, value_name = "ID")]
        event: Option<String>,
        /// At most this many.
        #[arg(long, default_value_t = 100)]
        max: u32,
    },
    /// Post a signed sample event to an endpoint, now, and show what became of it.
    Test {
        /// The endpoint.
        name: String,
    },
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Outcome {
    /// The endpoint has the event.
    Delivered,
    /// It has not; the queue decides about another attempt.
    Retry,
    /// It has not, and will not.
    Failed,
}

impl Outcome {
    /// The outcome as the API has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry => "retry",
            Self::Failed => "failed",
        }
    }
}
