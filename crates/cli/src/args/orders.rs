//! Flags of `order`, `plan`, `release` and `product`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

/// `orderwire order …`. `--client` says whose.
#[derive(Clone, Debug, Subcommand)]
pub enum Order {
    /// Order a new release; refused when it is there already.
    #[command(after_help = "\
Examples:
  orderwire order create sensor --client acme --set station=roof --set interval_ms=500 --watch
  orderwire order create --file order.json --wait")]
    Create(Apply),
    /// Change a release; refused when it is not there.
    #[command(after_help = "\
Example:
  orderwire order update sensor --client acme --set interval_ms=250 --watch")]
    Update(Apply),
    /// Create a release or update it, whichever it needs.
    #[command(after_help = "\
Examples:
  orderwire order apply sensor --client acme --name roof --parameters roof.json
  orderwire order apply --file order.json")]
    Apply(Apply),
    /// Remove a release with everything that it has.
    #[command(after_help = "\
Example:
  orderwire order remove sensor --client acme --environment dev --wait")]
    Remove(Remove),
    /// Cancel an unfinished order; the last ready revision is restored.
    Cancel {
        /// The order.
        order_id: String,
        /// And then.
        #[command(flatten)]
        wait: Wait,
    },
    /// Show an order and the steps of the work on it.
    Status {
        /// The order.
        order_id: String,
    },
    /// Follow an order until it is final, with every step and the states it is seen in.
    ///
    /// Ends with 0 when the order got what it asked for, else with 1 and the
    /// reason on stderr; 5 when a newer order took its place or it was cancelled.
    Watch {
        /// The order.
        order_id: String,
    },
    /// List orders, the newest first.
    List(OrderFilter),
}

/// Flags of `order create`, `update` and `apply`.
#[derive(Clone, Debug, Default, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["product", "name", "file"]))]
pub struct Apply {
    /// The product, by its name or an alias; `orderwire product list` shows them.
    /// May be left out to update a release by its `--name`.
    pub product: Option<String>,
    /// The whole order as JSON instead of flags; `-` is standard input.
    #[arg(long, value_name = "ORDER.json", conflicts_with_all = [
        "product", "name", "environment", "archtype", "hardware", "namespace", "set", "set_string", "parameters",
    ])]
    pub file: Option<PathBuf>,
    /// Where it goes.
    #[command(flatten)]
    pub placement: Placement,
    /// Its parameters.
    #[command(flatten)]
    pub settings: Settings,
    /// The same key with the same order is accepted once within 24 hours.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// The trace that the order belongs to, instead of a new one.
    #[arg(long, value_name = "ID")]
    pub trace_id: Option<String>,
    /// And then.
    #[command(flatten)]
    pub wait: Wait,
}

/// Which release, and where it goes.
#[derive(Clone, Debug, Default, Args)]
pub struct Placement {
    /// The name of the release; the product's when absent.
    #[arg(long)]
    pub name: Option<String>,
    /// The environment, such as `dev`.
    #[arg(long, short)]
    pub environment: Option<String>,
    /// The archtype, such as `saas` or `edge`.
    #[arg(long)]
    pub archtype: Option<String>,
    /// The hardware class, such as `shared`.
    #[arg(long)]
    pub hardware: Option<String>,
    /// Where on the target; by the target's template when absent.
    #[arg(long)]
    pub namespace: Option<String>,
}

/// Parameters of a product.
#[derive(Clone, Debug, Default, Args)]
pub struct Settings {
    /// A parameter: a number, true, false, null, an array or an object when it
    /// reads as such, else text.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// A parameter that is text whatever it looks like.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set_string: Vec<String>,
    /// A JSON object of parameters, under those of `--set`; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub parameters: Option<PathBuf>,
}

/// What to do once an order is accepted.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Wait {
    /// Follow the work live until the order is final.
    #[arg(long)]
    pub watch: bool,
    /// Wait until the order is final and say only how it ended.
    #[arg(long, conflicts_with = "watch")]
    pub wait: bool,
}

/// Flags of `order remove` and `release remove`.
#[derive(Clone, Debug, Args)]
pub struct Remove {
    /// Which release.
    #[command(flatten)]
    pub named: Named,
    /// And then.
    #[command(flatten)]
    pub wait: Wait,
}

/// Which orders.
#[derive(Clone, Debug, Args)]
pub struct OrderFilter {
    /// Of this trace.
    #[arg(long, value_name = "ID")]
    pub trace_id: Option<String>,
    /// In this state, such as `waiting` or `failed`.
    #[arg(long)]
    pub state: Option<String>,
    /// Of this product.
    #[arg(long)]
    pub product: Option<String>,
    /// In this environment.
    #[arg(long, short)]
    pub environment: Option<String>,
    /// Of this release, by its name or id.
    #[arg(long)]
    pub release: Option<String>,
    /// At most this many.
    #[arg(long, default_value_t = 100)]
    pub max: u32,
}

/// Flags of `plan`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Ends with 0 when nothing is refused, 5 when what is there forbids it, 7 when the order is invalid.

Example:
  echo '{\"client\": \"acme\", \"product\": \"sensor\"}' | orderwire plan -")]
pub struct Plan {
    /// The order as JSON; `-` is standard input.
    #[arg(value_name = "ORDER.json")]
    pub order: PathBuf,
}

/// Which release. `--client` says whose.
#[derive(Clone, Debug, Args)]
pub struct Named {
    /// The release, by its id or its name.
    pub release: String,
    /// In this environment, where the name alone is ambiguous.
    #[arg(long, short)]
    pub environment: Option<String>,
}

/// `orderwire release …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Release {
    /// List the releases.
    List(ReleaseFilter),
    /// Show a release with its resources.
    Show(Named),
    /// List the revisions of a release; show the content of one.
    History {
        /// Which.
        #[command(flatten)]
        named: Named,
        /// Show the content of this revision.
        #[arg(long, value_name = "N")]
        revision: Option<u64>,
    },
    /// Show what differs between two revisions, field by field.
    #[command(after_help = "Example:\n  orderwire release diff sensor --client acme --from 1 --to 3")]
    Diff {
        /// Which.
        #[command(flatten)]
        named: Named,
        /// The earlier revision; the one before `--to` when absent.
        #[arg(long, value_name = "N")]
        from: Option<u64>,
        /// The later revision; the newest when absent.
        #[arg(long, value_name = "N")]
        to: Option<u64>,
    },
    /// Bring back an earlier revision; it is an order like any other.
    #[command(
        after_help = "Example:\n  orderwire release rollback sensor --client acme --revision 2 --watch"
    )]
    Rollback {
        /// Which.
        #[command(flatten)]
        named: Named,
        /// The revision; the ready one before the present one when absent.
        #[arg(long, value_name = "N")]
        revision: Option<u64>,
        /// And then.
        #[command(flatten)]
        wait: Wait,
    },
    /// Show what on the target differs from the revision that was ready last;
    /// ends with 5 when anything does.
    Drift(Named),
    /// Remove a release with everything that it has.
    Remove {
        /// Which.
        #[command(flatten)]
        named: Named,
        /// And then.
        #[command(flatten)]
        wait: Wait,
    },
}

/// Which releases.
#[derive(Clone, Debug, Args)]
pub struct ReleaseFilter {
    /// Of this name.
    #[arg(long)]
    pub name: Option<String>,
    /// In this environment.
    #[arg(long, short)]
    pub environment: Option<String>,
    /// Of this product.
    #[arg(long)]
    pub product: Option<String>,
    /// On this target.
    #[arg(long)]
    pub target: Option<String>,
    /// Those that were removed as well.
    #[arg(long)]
    pub removed: bool,
    /// At most this many.
    #[arg(long, default_value_t = 100)]
    pub max: u32,
}

/// `orderwire product …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Product {
    /// List what can be ordered.
    List,
    /// Show a product with its parameters.
    Show {
        /// The product, by its name or an alias.
        product: String,
    },
    /// Check products on this machine: every fault with its file and line.
    #[command(after_help = "Example:\n  orderwire product lint products/sensor products/web")]
    Lint {
        /// Folders, each with a `product.yaml`.
        #[arg(required = true, value_name = "FOLDER")]
        folders: Vec<PathBuf>,
        /// For whom.
        #[command(flatten)]
        configured: Configured,
    },
    /// Render a product on this machine: the objects that an order would make.
    #[command(after_help = "\
Example:
  orderwire product render products/sensor --client acme --environment dev --set station=roof")]
    Render(Render),
}

/// The server that a product is checked or rendered for.
#[derive(Clone, Debug, Default, Args)]
pub struct Configured {
    /// The configuration file, with the environments and products of the server;
    /// without it, the environment and the defaults.
    #[arg(long, env = "ORDERWIRE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Flags of `product render`.
#[derive(Clone, Debug, Args)]
pub struct Render {
    /// A folder with a `product.yaml`, or the name of a product that ships or is in
    /// one of the configuration's folders.
    #[arg(value_name = "FOLDER|NAME")]
    pub product: String,
    /// For whom.
    #[command(flatten)]
    pub configured: Configured,
    /// Where it goes.
    #[command(flatten)]
    pub placement: Placement,
    /// Its parameters.
    #[command(flatten)]
    pub settings: Settings,
}
