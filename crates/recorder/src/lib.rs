//! The recorder: dataset rows and clients, each recorded exactly once.
//!
//! - [`Rows`] handles the stream `data`: rows, position and trace in one
//!   transaction of the store.
//! - [`ClientChanges`] handles the queue `clients`.
//!
//! With the store's contract it is the owner of datasets' rows, readers'
//! positions and clients. Absent on purpose: retries, order and attempts are
//! the queue's, parallelism and time-outs the worker runtime's.

mod clients;
mod rows;

pub use clients::ClientChanges;
pub use rows::Rows;
