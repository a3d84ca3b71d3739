//! Commands over the HTTP API, never over the store: a command can do nothing
//! that a caller could not.

pub mod args;

pub use args::{Cli, Command};
