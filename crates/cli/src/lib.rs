//! Commands over the HTTP API, never over the store: a command can do nothing
//! that a caller could not.
//!
//! [`args`] defines every flag once; [`run`] carries out every command but
//! those that are a server themselves (`up`, `demo`), which the binary does.
//! [`demo`] is the guided tour of a server that runs already.

pub mod args;
mod check;
mod clients;
mod dataset;
mod dead;
pub mod demo;
mod error;
mod event;
pub mod exit;
mod keys;
mod load;
mod manual;
mod out;
mod queue;
mod run;
mod server;
mod trace;

pub use args::{Cli, Command};
pub use check::Load;
pub use error::{Error, ErrorKind};
pub use run::run;
