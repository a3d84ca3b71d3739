//! Servers of our own, which are killed, starved, or reached by TLS.

mod alarm;
mod restart;
mod size;
mod tls;
