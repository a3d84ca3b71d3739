//! The query server on a real store.

mod bench;
mod cache;
mod rest;
mod scope;
mod views;
