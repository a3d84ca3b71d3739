//! The store.

mod support;

mod conformance;
mod faults;
mod migrated;
mod nodes;
mod reads;
mod twins;
