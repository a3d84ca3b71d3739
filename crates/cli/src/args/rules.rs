//! Flags of `rule`.

use clap::{Args, Subcommand};

use super::Configured;

/// `orderwire rule …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Rule {
    /// List the rules of a configuration.
    List {
        /// Whose.
        #[command(flatten)]
        configured: Configured,
    },
    /// Show what rules would do with an event, without a server and without doing it.
    #[command(after_help = "\
Examples:
  orderwire rule test --config orderwire.yaml --event event.json
  orderwire rule test hot --config orderwire.yaml --event - --type plant.measure.taken")]
    Test(RuleTest),
}

/// Flags of `rule test`.
#[derive(Clone, Debug, Args)]
pub struct RuleTest {
    /// This rule alone; without it every rule.
    pub rule: Option<String>,
    /// Whose rules.
    #[command(flatten)]
    pub configured: Configured,
    /// The event: a file, or `-` for standard input. A CloudEvent, message-attributes JSON, or with
    /// `--type` plain JSON.
    #[arg(long, value_name = "FILE|-")]
    pub event: String,
    /// The type of a plain JSON event; CloudEvents and message-attributes JSON say their own.
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<String>,
}
