//! The store.

mod support;

mod conformance;
mod faults;
mod migrated;
mod nodes;
mod partitions;
mod reads;
mod twins;
