//! The scheduler over the reference engine, and the suite over its twins.

mod model;
mod twins;
