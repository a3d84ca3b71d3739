//! The runtime that every worker shares: lease, handle, settle, drain.
//!
//! A worker's own code is its handler alone; the queue decides order and
//! retries; what lies between is here.
//!
//! - [`TaskWorker`] leases the deliveries of a task queue and has each handled
//!   by a [`TaskHandler`].
//! - [`StreamWorker`] reads a stream in batches for a [`StreamHandler`], which
//!   stores its position with its effect.
//! - [`DirectWorker`] has the events of a stream that wait at a broker handled by a
//!   [`DirectHandler`], which remembers with the effect which had theirs.
//!
//! Invariants: no delivery is lost or settled without its handler's word; a
//! worker that stops gives back what it did not begin; no wait without bound.

mod batches;
mod caught;
mod direct;
pub mod handler;
mod pause;
mod stream;
mod task;

pub use batches::{Stopped, StreamOptions};
pub use direct::{DirectWorker, Handled};
pub use handler::{BatchError, DirectHandler, StreamEntry, StreamHandler, Task, TaskHandler, Verdict};
pub use pause::Pause;
pub use stream::StreamWorker;
pub use task::{TaskOptions, TaskWorker};
