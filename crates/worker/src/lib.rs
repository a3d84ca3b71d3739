//! The runtime that every worker shares: lease, handle, settle, drain.
//!
//! A worker's own code is its handler alone; the queue decides order and
//! retries; what lies between is here.

pub mod handler;

pub use handler::{BatchError, StreamEntry, StreamHandler, Task, TaskHandler, Verdict};
