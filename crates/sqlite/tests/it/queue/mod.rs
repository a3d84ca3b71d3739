//! The queue's engine.

mod support;

mod apart;
mod conformance;
mod faults;
mod late;
mod model;
mod promises;
mod replay;
mod told;
