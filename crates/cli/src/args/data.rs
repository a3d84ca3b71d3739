//! Flags of `dataset` and `key`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

/// `orderwire dataset …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Dataset {
    /// Make a dataset, or change it.
    Create {
        /// Its name.
        dataset: String,
        /// A column, as `NAME:TYPE` with TYPE text, integer, float, decimal, boolean,
        /// timestamp, date, uuid, json or text[]; `!` behind the type makes it required.
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
        /// Make a change that loses data, too: columns that are not named any more are dropped.
        #[arg(long)]
        allow_loss: bool,
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
        /// A client that it covers; that of `--client`, else all, when absent.
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
