//! The binary that knows Kafka, which `cargo xtask test` builds.

use std::path::PathBuf;

use anyhow::{Context, Result};
pub use orderwire_servers::kafka::Kafka;

/// The binary that was built with the feature `kafka`.
pub fn binary() -> Result<PathBuf> {
    let value = std::env::var_os("ORDERWIRE_BIN_KAFKA");
    Ok(value.context("ORDERWIRE_BIN_KAFKA is not set: run the tests with `cargo xtask test`")?.into())
}
