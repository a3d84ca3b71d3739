//! The query server on a real store.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bench;
mod both;
mod cache;
mod forms;
mod nodes;
mod rest;
mod scope;
mod views;
mod watched;
