//! One definition per flag: parsing, `--help`, completions and the manual page
//! all come from here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Publish and follow events.
    #[command(subcommand)]
    Event(Event),
    /// List, make, look into, pause and consume queues.
    #[command(subcommand)]
    Queue(Queue),
    /// List, show, replay and discard dead letters.
    #[command(subcommand)]
    Dead(Dead),
    /// Show everything that happened for a trace id, in order.
    Trace(Trace),
    /// List and show clients.
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

/// `orderwire event …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Event {
    /// Publish one event, or many as NDJSON, from a file, an argument or standard input.
    Publish {
        /// The type of a plain JSON body, for example `shop.order.created`;
        /// CloudEvents and message-attributes JSON say their own.
        #[arg(long = "type", value_name = "TYPE")]
        event_type: Option<String>,
        /// The body itself, `@FILE`, or `-` for standard input.
        #[arg(default_value = "-")]
        body: String,
        /// The same key with the same body is accepted once within 24 hours.
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
        /// The body is NDJSON: one event a line.
        #[arg(long)]
        ndjson: bool,
    },
    /// Follow the events of a queue without taking them: looks at what waits there.
    Tail {
        /// The queue.
        queue: String,
        /// Stop after this many events.
        #[arg(long, value_name = "N")]
        max: Option<u64>,
    },
}

/// `orderwire queue …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Queue {
    /// List the queues with what waits in them.
    List,
    /// Show one queue.
    Show {
        /// The queue.
        queue: String,
    },
    /// Make a queue.
    Create {
        /// Its name.
        queue: String,
        /// A pattern of event types that it takes; `*` is one word, `#` any number.
        #[arg(long = "type", required = true, value_name = "PATTERN")]
        types: Vec<String>,
        /// `task` or `stream`.
        #[arg(long)]
        kind: Option<String>,
        /// What orders deliveries: `partitionkey`, `client` or `none`.
        #[arg(long = "order")]
        order: Option<String>,
        /// `cloudevents`, `message-attributes` or `flat`.
        #[arg(long)]
        format: Option<String>,
        /// How many attempts a delivery has.
        #[arg(long)]
        attempts: Option<u32>,
    },
    /// Look at the first waiting events without taking them.
    Peek {
        /// The queue.
        queue: String,
        /// At most this many.
        #[arg(long, default_value_t = 10)]
        max: u32,
    },
    /// Take deliveries under a lease, as a consumer does.
    Lease {
        /// The queue.
        queue: String,
        /// At most this many.
        #[arg(long, default_value_t = 1)]
        max: u32,
        /// How long to wait when there is none.
        #[arg(long, default_value_t = 0, value_name = "MS")]
        wait_ms: u64,
        /// How long the lease lasts.
        #[arg(long, default_value_t = 30_000, value_name = "MS")]
        lease_ms: u64,
    },
    /// Settle deliveries: they are done.
    Ack {
        /// The queue.
        queue: String,
        /// What `lease` printed.
        #[arg(required = true)]
        delivery_ids: Vec<String>,
    },
    /// Give deliveries back, to be tried again.
    Nack {
        /// The queue.
        queue: String,
        /// What `lease` printed.
        #[arg(required = true)]
        delivery_ids: Vec<String>,
        /// After this pause instead of the queue's back-off.
        #[arg(long, value_name = "MS")]
        delay_ms: Option<u64>,
        /// Why.
        #[arg(long)]
        cause: Option<String>,
        /// Dead-letter at once.
        #[arg(long)]
        fail: bool,
    },
    /// Stop handing out deliveries.
    Pause {
        /// The queue.
        queue: String,
    },
    /// Hand out deliveries again.
    Resume {
        /// The queue.
        queue: String,
    },
}

/// Which dead letters.
#[derive(Clone, Debug, Default, Args)]
pub struct DeadSelect {
    /// Of this queue.
    #[arg(long)]
    pub queue: Option<String>,
    /// Of this event type, a pattern.
    #[arg(long = "type", value_name = "PATTERN")]
    pub event_type: Option<String>,
    /// Whose cause contains this text.
    #[arg(long)]
    pub cause: Option<String>,
    /// Dead-lettered at or after, RFC 3339.
    #[arg(long)]
    pub since: Option<String>,
    /// Dead-lettered before, RFC 3339.
    #[arg(long)]
    pub until: Option<String>,
}

/// `orderwire dead …`. `--client` selects by client.
#[derive(Clone, Debug, Subcommand)]
pub enum Dead {
    /// List dead letters.
    List {
        /// Which.
        #[command(flatten)]
        select: DeadSelect,
        /// At most this many.
        #[arg(long, default_value_t = 100)]
        max: u32,
    },
    /// Show one with its event.
    Show {
        /// Its id.
        id: String,
    },
    /// Put dead letters back into their queue: same event, same trace.
    Replay {
        /// These; or select by flags.
        ids: Vec<String>,
        /// Which.
        #[command(flatten)]
        select: DeadSelect,
        /// All of them.
        #[arg(long)]
        all: bool,
        /// Only count.
        #[arg(long)]
        dry_run: bool,
    },
    /// Forget dead letters for good.
    Discard {
        /// These; or select by flags.
        ids: Vec<String>,
        /// Which.
        #[command(flatten)]
        select: DeadSelect,
        /// All of them.
        #[arg(long)]
        all: bool,
        /// Only count.
        #[arg(long)]
        dry_run: bool,
        /// Why, for the trace.
        #[arg(long)]
        reason: Option<String>,
    },
}

/// Flags of `trace`.
#[derive(Clone, Debug, Args)]
pub struct Trace {
    /// The trace id, in the producer's spelling, as a UUID or as 32 hex digits.
    pub trace_id: String,
}

/// `orderwire client …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Client {
    /// List the clients.
    List,
    /// Show one.
    Show {
        /// The client.
        name: String,
    },
}

/// `orderwire dataset …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Dataset {
    /// Make a dataset, or change it.
    Create {
        /// Its name.
        dataset: String,
        /// A column, as `NAME:TYPE` with TYPE text, integer, float, boolean,
        /// timestamp or json; `!` behind the type makes it required.
        #[arg(long = "field", value_name = "NAME:TYPE[!]", required_unless_present = "file")]
        fields: Vec<String>,
        /// A column of the key; a row of the same key takes the old one's place.
        #[arg(long = "key-column", value_name = "COLUMN")]
        key_columns: Vec<String>,
        /// The timestamp column that says when a row happened.
        #[arg(long, value_name = "COLUMN")]
        time: Option<String>,
        /// Keep the old row when the key is there already.
        #[arg(long)]
        keep: bool,
        /// A JSON definition instead of flags; `-` is standard input.
        #[arg(long, value_name = "FILE", conflicts_with = "fields")]
        file: Option<PathBuf>,
    },
    /// List the datasets.
    List,
    /// Import a CSV or NDJSON file. The same file twice adds nothing; an
    /// import that was stopped goes on where it was.
    Import {
        /// The dataset; made from the file's columns when it does not exist.
        dataset: String,
        /// The file, `.csv` or `.ndjson`.
        file: PathBuf,
        /// The form of the file, when its name does not say it.
        #[arg(long, value_enum)]
        format: Option<FileFormat>,
        /// Make the dataset from the inferred types without asking.
        #[arg(long, short)]
        yes: bool,
    },
    /// Export rows as CSV or NDJSON.
    Export {
        /// The dataset.
        dataset: String,
        /// The file; standard output when absent or `-`.
        file: Option<PathBuf>,
        /// The form; by the file's name when absent, else CSV.
        #[arg(long, value_enum)]
        format: Option<FileFormat>,
        /// A filter as `/rest` takes it, for example `no2=gt.40`; all must hold.
        #[arg(long = "where", value_name = "FILTER")]
        filters: Vec<String>,
    },
}

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

/// `orderwire key …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Key {
    /// Make a key; it is shown once.
    Create {
        /// What it is for.
        name: String,
        /// A right: read, write, order, consume, operate or admin.
        #[arg(long = "role", required = true, value_name = "ROLE")]
        roles: Vec<String>,
        /// A client that it covers; all when absent.
        #[arg(long = "for-client", value_name = "CLIENT")]
        clients: Vec<String>,
        /// An object that it covers, `dataset/NAME` or `queue/NAME`; all when absent.
        #[arg(long = "object", value_name = "OBJECT")]
        objects: Vec<String>,
        /// Until when it is valid, RFC 3339.
        #[arg(long, value_name = "TIME")]
        expires_at: Option<String>,
    },
    /// List the keys.
    List,
    /// Revoke a key, at once and for good.
    Revoke {
        /// Its id.
        id: String,
    },
}

/// Flags of `load`.
#[derive(Clone, Debug, Args)]
pub struct Load {
    /// What to do.
    #[arg(value_enum)]
    pub scenario: Scenario,
    /// Connections at once.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// How long to measure, in seconds, after the warm-up.
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub duration: u64,
    /// How long to warm up, in seconds.
    #[arg(long, default_value_t = 2, value_name = "SECONDS")]
    pub warm_up: u64,
    /// Requests a second, kept whatever the server does (latency counts from
    /// when a request was due); without it, every connection asks as fast as
    /// it is answered.
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// Bytes of an event's payload.
    #[arg(long, default_value_t = 512)]
    pub payload: usize,
    /// Rows of a batch.
    #[arg(long, default_value_t = 500)]
    pub batch: usize,
    /// Clients among which events are spread.
    #[arg(long, default_value_t = 1)]
    pub clients: usize,
    /// The path that `read` reads.
    #[arg(long, default_value = "/api/v1/measures/air")]
    pub path: String,
}

/// What `load` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Single events to a task queue of its own.
    Event,
    /// Single rows to a dataset of its own.
    Row,
    /// Batches of rows, as NDJSON.
    Rows,
    /// Lease and ack what `event` left.
    Consume,
    /// Read a path.
    Read,
}
