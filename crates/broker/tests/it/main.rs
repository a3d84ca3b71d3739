//! The suite of brokers over the reference broker and over its twins.

mod model;
mod twins;
