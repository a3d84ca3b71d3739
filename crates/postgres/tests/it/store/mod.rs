//! The store.

mod support;

mod conformance;
mod faults;
mod nodes;
mod reads;
mod twins;
