//! The gateway over the real router, the real scheduler and the embedded engine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod causes;
mod consume;
mod dead;
mod entrance;
mod events;
mod health;
mod keys;
mod lineage;
mod openapi;
mod orders;
mod problems;
mod queues;
mod rows;
mod support;
