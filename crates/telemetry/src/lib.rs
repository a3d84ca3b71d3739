//! Logs, metrics and traces: set-up only.
