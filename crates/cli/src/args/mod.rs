//! One definition per flag: parsing, `--help`, completions and the manual page
//! all come from here.

mod data;
mod events;
mod forwards;
mod load;
mod module;
mod orders;
mod rules;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use data::{Dataset, DatasetFlags, FileFormat, Import, ImportFile, Key};
pub use events::{Dead, DeadChoice, DeadSelect, Event, Queue};
pub use forwards::{Forward, Outcome};
pub use load::{Arrivals, Load, Ramp, Scenario, Work};
pub use module::{How, Module, Sensor, Web};
pub use orders::{
    Apply, Configured, Named, Order, OrderFilter, Placement, Plan, Product, Release, ReleaseFilter, Remove,
    Render, Settings, Wait,
};
pub use rules::{Rule, RuleTest};

/// Events into running, observed infrastructure and served data.
///
/// Start with `orderwire demo`: it runs everything on this machine with sample
/// data and prints what to look at. `orderwire up` is the server itself; all
/// other commands talk to a server over its HTTP API.
#[derive(Debug, Parser)]
#[command(name = "orderwire", version, max_term_width = 100, propagate_version = true, after_help = crate::exit::HELP)]
pub struct Cli {
    /// How a command finds and asks a server.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How a command finds and asks a server, and how it prints.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The server to talk to.
    #[arg(
        long,
        global = true,
        env = "ORDERWIRE_SERVER",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    pub server: String,
    /// The key to show; without it, the admin key of the local data folder.
    #[arg(long, global = true, env = "ORDERWIRE_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub key: Option<String>,
    /// The data folder: where `up` keeps its data, and whose admin key other
    /// commands use when no key is given.
    #[arg(long, global = true, env = "ORDERWIRE_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// How to print: a table for people, JSON for scripts.
    #[arg(long, short = 'o', global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Work for this client only (header `Orderwire-Client`).
    #[arg(long, global = true, value_name = "CLIENT")]
    pub client: Option<String>,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table for people.
    Table,
    /// JSON for scripts.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server: every role in one process, nothing else needed.
    Up(Up),
    /// Run the server with sample data and show what it does.
    Demo(Up),
    /// Validate a configuration: every fault at once, with its place.
    Check(Check),
    /// Print the default configuration or its JSON Schema.
    #[command(subcommand)]
    Config(Config),
    /// Order products: create, update and remove releases, and follow the work.
    #[command(subcommand)]
    Order(Order),
    /// Show what an order would create, change and remove, and touch nothing.
    Plan(Plan),
    /// List and show releases, compare and bring back their revisions, remove them.
    #[command(subcommand)]
    Release(Release),
    /// List what can be ordered; check and render products on this machine.
    #[command(subcommand)]
    Product(Product),
    /// Publish and follow events.
    #[command(subcommand)]
    Event(Event),
    /// List rules, and try them on an event.
    #[command(subcommand)]
    Rule(Rule),
    /// List, make, look into, pause and consume queues.
    #[command(subcommand)]
    Queue(Queue),
    /// List, show, edit, replay and discard dead letters.
    #[command(subcommand)]
    Dead(Dead),
    /// Show endpoints that get events, what was tried at them, and try one.
    #[command(subcommand)]
    Forward(Forward),
    /// Show everything that happened for a trace id, in order.
    Trace(Trace),
    /// Show where a resource or a release comes from, and what belongs to it.
    Lineage(Lineage),
    /// List clients, and show what each has.
    #[command(subcommand)]
    Client(Client),
    /// Create, list, import and export datasets.
    #[command(subcommand)]
    Dataset(Dataset),
    /// Create, list and revoke keys.
    #[command(subcommand)]
    Key(Key),
    /// Put load on a server and measure it.
    Load(Load),
    /// Run a program of the products that ship.
    #[command(subcommand)]
    Module(Module),
    /// Start and watch the processes of one release; the server calls it.
    #[command(hide = true)]
    Supervise {
        /// For the supervisor, which the binary calls before these are read.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Print shell completions.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page (troff): `orderwire man | man -l -`.
    Man,
}

/// Flags of `up` and `demo`.
#[derive(Clone, Debug, Args)]
pub struct Up {
    /// The configuration file; without it, the defaults.
    #[arg(long, env = "ORDERWIRE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The address to listen on; port 0 takes a free one [default: 127.0.0.1:8080].
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
}

/// Flags of `check`.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// The configuration file; without it, the environment and the defaults are checked.
    #[arg(long, env = "ORDERWIRE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Also try every dependency that the configuration names.
    #[arg(long)]
    pub connect: bool,
}

/// `orderwire config …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Config {
    /// Print the default configuration, with comments; it loads as it is.
    Default,
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
}

/// Flags of `trace`.
#[derive(Clone, Debug, Args)]
pub struct Trace {
    /// The trace id, in the producer's spelling, as a UUID or as 32 hex digits.
    pub trace_id: String,
    /// Show what led to it and what it led to, instead of its steps.
    #[arg(long)]
    pub lineage: bool,
}

/// Flags of `lineage`.
#[derive(Clone, Debug, Args)]
pub struct Lineage {
    /// The name of a resource: of an object or process of a release.
    #[arg(required_unless_present = "release")]
    pub resource: Option<String>,
    /// Its kind, such as Process.
    #[arg(long, requires = "resource")]
    pub kind: Option<String>,
    /// The id of a release, instead of a resource.
    #[arg(long, conflicts_with = "resource")]
    pub release: Option<String>,
}

/// `orderwire client …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Client {
    /// List the clients.
    List,
    /// Show one with its releases.
    Show {
        /// The client.
        name: String,
    },
}
