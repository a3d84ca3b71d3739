//! The engines on real files.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod queue;
mod store;
