//! The surface: wire requests and responses, problem+json, who calls, and how
//! requests are read.
//!
//! Wire types are kept apart from what is stored: a field here is a promise
//! to callers. Servers (gateway, query) and clients (cli) share this crate, so
//! that both sides agree by construction.

pub mod auth;
pub mod extract;
pub mod page;
pub mod places;
pub mod problem;
pub mod responses;
pub mod rest;
pub mod wire;

pub use auth::{Authenticator, Caller};
pub use problem::Problem;
pub use responses::{ReadProblems, WriteProblems};
