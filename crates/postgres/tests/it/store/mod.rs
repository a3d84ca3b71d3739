//! The store.

mod support;

mod conformance;
