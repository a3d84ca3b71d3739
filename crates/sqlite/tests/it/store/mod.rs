//! The store.

mod support;

mod conformance;
mod faults;
mod indexes;
mod log;
mod migrated;
mod twins;
