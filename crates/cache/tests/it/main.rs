//! The caches, put to the suite and to a real Redis that fails.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod conformance;
mod faults;
mod nodes;
mod support;
mod tls;
mod twins;
