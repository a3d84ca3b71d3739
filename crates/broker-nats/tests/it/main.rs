//! The broker against real servers: one that runs already (`NATS_URL`, by default the one
//! on this machine) with streams of our own that are removed afterwards, and servers of our
//! own where one has to be stopped (`NATS_SERVER` names another program).

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod adopt;
mod bindings;
mod faults;
mod kit;
mod login;
mod server;
mod suite;
mod tls;
