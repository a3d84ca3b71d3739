//! The store.

mod support;
mod twin;

mod conformance;
mod faults;
mod log;
mod migrated;
mod twins;
