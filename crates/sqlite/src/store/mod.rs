//! The store (`store.db`).
