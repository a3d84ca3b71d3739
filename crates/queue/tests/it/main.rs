//! The scheduler over the reference engine, and the suite over its twins.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod bench;
mod consume;
mod dead;
mod lease;
mod model;
mod publish;
mod replay;
mod service;
mod settings;
mod twins;
