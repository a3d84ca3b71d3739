//! Durable queues: what is scheduled is written once, here, over a narrow
//! [`Engine`] port that every storage engine fills.
//!
//! - [`Queues`] is what everyone else uses: publish, lease, settle, look.
//! - [`engine`] is the port, and the specification of what an engine promises.
//!
//! Owner of: deliveries, stream positions, dead letters, remembered event ids,
//! and the trace steps of all these.
//!
//! Invariants: a publish returns after its commit; nothing is in memory only;
//! a queue knows nothing of HTTP, workers or brokers.

pub mod engine;
pub mod error;
pub mod model;

pub use engine::Engine;
pub use error::{Error, ErrorKind};
