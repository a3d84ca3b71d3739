//! The embedded engine: queue and store on SQLite.
//!
//! Each is one file in the data folder ([`DataDir`], locked by one process),
//! written by one thread with its own connection and read over a few read-only
//! connections. SQLite is compiled in, never the system's.
//!
//! Invariants:
//! - a commit is acknowledged only after SQLite synchronised the write-ahead
//!   log (`synchronous=FULL`);
//! - a fault rolls back the whole transaction, and what is kept in memory is
//!   brought back to the committed state;
//! - after SQLite reported damage nothing more is written to that file.

mod db;
mod decimal;
mod error;
mod late;
mod lock;
mod migrate;
mod queue;
mod remembered;
pub mod store;

pub use error::{Error, ErrorKind};
pub use late::LateOptions;
pub use lock::DataDir;
pub use queue::{Options, SqliteQueue};
