//! The queue (`queue.db`).
