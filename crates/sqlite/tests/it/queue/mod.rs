//! The queue's engine.

mod support;

mod faults;
mod model;
mod promises;
