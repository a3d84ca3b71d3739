//! Flags of `event`, `queue` and `dead`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

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

/// Which dead letters something is done with.
#[derive(Clone, Debug, Default, Args)]
pub struct DeadChoice {
    /// These; or select by flags.
    pub ids: Vec<String>,
    /// Which.
    #[command(flatten)]
    pub select: DeadSelect,
    /// All of them.
    #[arg(long)]
    pub all: bool,
    /// Only count.
    #[arg(long)]
    pub dry_run: bool,
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
    /// Put other data into a dead letter, to be replayed then: from a file, or in the
    /// editor of VISUAL or EDITOR.
    Edit {
        /// Its id.
        id: String,
        /// The new data as JSON: a file, or `-` for standard input.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// What the new data is based on: `etag` of `dead show`; by default the letter
        /// as it is now.
        #[arg(long, value_name = "ETAG", requires = "file")]
        if_match: Option<String>,
        /// Why, for the trace.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Put dead letters back into their queue: same event, same trace.
    Replay {
        /// Which.
        #[command(flatten)]
        choice: DeadChoice,
        /// At most so many letters per second, with a progress bar; Ctrl-C cancels.
        #[arg(long, value_name = "N")]
        rate: Option<u32>,
    },
    /// List the replays at a rate, those that ended lately among them.
    Replays,
    /// Cancel a replay at a rate; what it did not put back stays a dead letter.
    Cancel {
        /// Its id.
        replay_id: String,
    },
    /// Forget dead letters for good.
    Discard {
        /// Which.
        #[command(flatten)]
        choice: DeadChoice,
        /// Why, for the trace.
        #[arg(long)]
        reason: Option<String>,
    },
}
