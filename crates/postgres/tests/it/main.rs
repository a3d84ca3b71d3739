//! The engine on a real server: the one of this machine (`POSTGRES_URL`), with a database of
//! its own for each test, and servers of our own where one has to be stopped.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod db;
mod queue;
mod store;
mod support;
