//! The engine on PostgreSQL: what several processes share.
//!
//! [`Database`] is the way to the server: a pool of connections that are set up
//! alike, with time-outs on everything. What belongs to a module lies in a
//! PostgreSQL schema of the module's name, brought to its present form by its
//! own migrations when it is opened.
//!
//! Invariants:
//! - every call has a time-out, on the server's side and on ours;
//! - `search_path` is empty: statements name the schema of what they use, so
//!   that nothing which others put into the database is taken for ours;
//! - a connection keeps what it was told (settings, functions, what it listens to): a pooler
//!   in between has to pool sessions, not transactions;
//! - values are always bound, never part of a statement.

mod db;
mod error;
mod migrate;
mod queue;
pub mod store;

pub use db::{Database, Identity, Options};
pub use error::{Error, ErrorKind};
pub use queue::{PostgresQueue, QueueOptions};
