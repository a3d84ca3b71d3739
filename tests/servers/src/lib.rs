//! Real servers of a test's own: each on ports and in a folder of its own, so that it can be
//! stopped and started again without disturbing anybody. They end with their value.
//!
//! Nothing here knows Orderwire.

mod authority;
pub mod mosquitto;
pub mod nats;
mod process;
pub mod proxy;
pub mod rabbit;
pub mod redis;

use std::net::TcpListener;
use std::time::Duration;

use anyhow::Result;

pub use authority::{Authority, Signed};
pub use process::Process;

/// How long anything local may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A port that nobody listens on at this moment.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
