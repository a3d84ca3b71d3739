//! Connections to real brokers, and to one that misbehaves.

mod faults;
mod flow;
mod producer;
mod support;
mod tls;
