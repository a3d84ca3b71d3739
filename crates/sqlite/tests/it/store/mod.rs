//! The store.

mod support;
mod twin;

mod conformance;
mod faults;
mod indexes;
mod log;
mod migrated;
mod twins;
