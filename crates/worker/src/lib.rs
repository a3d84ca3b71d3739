//! The runtime that every worker shares: lease, handle, settle, drain.
//!
//! A worker's own code is its handler alone; the queue decides order and
//! retries; what lies between is here.
//!
//! - [`TaskWorker`] leases the deliveries of a task queue and has each handled
//!   by a [`TaskHandler`].
//! - [`StreamWorker`] reads a stream in batches for a [`StreamHandler`], which
//!   stores its position with its effect.
//!
//! Invariants: no delivery is lost or settled without its handler's word; a
//! worker that stops gives back what it did not begin; no wait without bound.

mod caught;
pub mod handler;
mod pause;
mod stream;
mod task;

pub use handler::{BatchError, StreamEntry, StreamHandler, Task, TaskHandler, Verdict};
pub use pause::Pause;
pub use stream::{StreamOptions, StreamWorker};
pub use task::{TaskOptions, TaskWorker};
