//! Commands over the HTTP API, never over the store: a command can do nothing
//! that a caller could not.
//!
//! [`args`] defines every flag once; [`run`] carries out every command but
//! those that are a server themselves (`up`, `demo`) or its supervisor, which the
//! binary does. `module` runs the programs of the products that ship.
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
mod forward;
mod keys;
mod load;
mod local;
mod manual;
mod module;
mod order;
mod out;
mod plan;
mod product;
mod progress;
mod queue;
mod release;
mod rule;
mod run;
mod server;
mod stop;
#[cfg(test)]
mod testing;
mod trace;

pub use args::{Cli, Command};
pub use error::{Error, ErrorKind};
pub use local::{Load, Local, RenderRequest, RuleRequest, Trying};
pub use orderwire_config::Config;
pub use run::run;
pub use stop::Stop;
