//! The whole server in this process, and what is written about it.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod figures;
mod openapi;
mod views;

use std::path::PathBuf;

/// A file of the checkout.
fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
