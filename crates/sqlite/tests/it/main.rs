//! The engines on real files.

mod queue;
