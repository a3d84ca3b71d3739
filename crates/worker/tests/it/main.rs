//! The workers over the scheduler and the reference engine, in paused time.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod direct;
mod line;
mod streams;
mod tasks;
