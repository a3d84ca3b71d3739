//! The queue's engine.

mod support;

mod conformance;
mod faults;
mod model;
mod promises;
