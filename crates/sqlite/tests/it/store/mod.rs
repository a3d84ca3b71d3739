//! The store.

mod support;

mod conformance;
mod faults;
mod twins;
