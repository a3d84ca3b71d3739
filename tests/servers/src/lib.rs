//! Real servers of a test's own: each on ports and in a folder of its own, so that it can be
//! stopped and started again without disturbing anybody. They end with their value.
//!
//! Nothing here knows Orderwire.

mod authority;
pub mod kafka;
pub mod mosquitto;
pub mod nats;
mod ports;
pub mod postgres;
mod process;
pub mod proxy;
pub mod rabbit;
pub mod redis;

use std::time::Duration;

pub use authority::{Authority, Signed};
pub use ports::free_port;
pub use process::Process;

/// How long anything local may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);
