//! The workers over the scheduler and the reference engine, in paused time.

mod line;
mod streams;
mod tasks;
