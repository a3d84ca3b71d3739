//! Flags of `dataset` and `key`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `orderwire dataset …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Dataset {
    /// Make a dataset, or change it.
    Create {
        /// Its name.
        dataset: String,
        /// Its columns and what becomes of rows.
        #[command(flatten)]
        flags: DatasetFlags,
        /// A JSON definition instead of flags; `-` is standard input.
        #[arg(long, value_name = "FILE", conflicts_with = "DatasetFlags")]
        file: Option<PathBuf>,
        /// Make a change that loses data, too: columns that are not named any more are dropped.
        #[arg(long)]
        allow_loss: bool,
    },
    /// List the datasets.
    List,
    /// Import a CSV, NDJSON or Parquet file. The same file twice adds nothing; an
    /// import that was stopped goes on where it was.
    Import(Import),
    /// Export rows as CSV, NDJSON or Parquet.
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

/// A dataset in flags.
#[derive(Clone, Debug, Default, Args)]
pub struct DatasetFlags {
    /// A column, as `NAME:TYPE` with TYPE text, integer, float, decimal, boolean,
    /// timestamp, date, uuid, json or text[]; `!` behind the type makes it required.
    #[arg(long = "field", value_name = "NAME:TYPE[!]", required_unless_present = "file")]
    pub fields: Vec<String>,
    /// A column of the key; a row of the same key takes the old one's place.
    #[arg(long = "key-column", value_name = "COLUMN")]
    pub key_columns: Vec<String>,
    /// The timestamp column that says when a row happened.
    #[arg(long, value_name = "COLUMN")]
    pub time: Option<String>,
    /// Keep the old row when the key is there already.
    #[arg(long)]
    pub keep: bool,
    /// What happens to a field that is no column; `keep` puts it into `_extra`.
    #[arg(long, value_name = "WHAT", value_parser = ["reject", "ignore", "keep"], default_value = "reject")]
    pub unknown: String,
    /// How long rows are kept, for example 90d; for good when absent.
    #[arg(long, value_name = "SPAN")]
    pub retention: Option<String>,
    /// Rows of one day or month lie together in PostgreSQL, by the time, which the key must hold.
    #[arg(long, value_name = "LENGTH", value_parser = ["day", "month"])]
    pub partition: Option<String>,
}

/// Flags of `dataset import`.
#[derive(Clone, Debug, Args)]
pub struct Import {
    /// The dataset; made from the file's columns when it does not exist.
    pub dataset: String,
    /// The file, `.csv`, `.ndjson` or `.parquet`.
    pub file: PathBuf,
    /// The form of the file, when its name does not say it.
    #[arg(long, value_enum)]
    pub format: Option<FileFormat>,
    /// How a file of text is written.
    #[command(flatten)]
    pub written: ImportFile,
    /// Make the dataset from the inferred types without asking.
    #[arg(long, short)]
    pub yes: bool,
    /// Show the types that the file's columns would have, its first rows and how to make the
    /// dataset, and import nothing. Needs no server.
    #[arg(long, conflicts_with_all = ["yes", "rejects"])]
    pub preview: bool,
    /// Put faulty rows into this file, with their lines and faults as NDJSON, and import the
    /// others; without it a faulty row stops the import before anything is sent.
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,
    /// With more faulty rows than this nothing is imported.
    #[arg(long, value_name = "N", default_value_t = 1_000, requires = "rejects",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub rejects_max: usize,
}

/// How a file of text is written.
#[derive(Clone, Debug, Default, Args)]
pub struct ImportFile {
    /// What separates values of CSV: a character, or `tab`; by default a comma, or the
    /// semicolon or tab of a first line without commas.
    #[arg(long, value_name = "CHAR")]
    pub delimiter: Option<String>,
    /// What quotes values of CSV: a character, or `none` [default: "].
    #[arg(long, value_name = "CHAR")]
    pub quote: Option<String>,
    /// CSV without a header: columns are those of the dataset in their order, else
    /// `column_1` and so on.
    #[arg(long)]
    pub no_header: bool,
    /// The names of the columns of CSV without a header.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// The encoding, for example `utf-16le` or `latin1`; UTF-8 when absent. A byte order mark
    /// in the file has the last word.
    #[arg(long, value_name = "NAME")]
    pub encoding: Option<String>,
}

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
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
