//! The queue's engine.

mod conformance;
mod faults;
mod flat;
mod model;
mod nodes;
mod shared;
mod support;

pub(crate) use support::open;
