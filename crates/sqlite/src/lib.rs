//! The embedded engine: queue and store on SQLite.
