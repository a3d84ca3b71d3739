//! The query dialect, views and the cache layer.
