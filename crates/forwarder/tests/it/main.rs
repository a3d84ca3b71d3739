//! The forwarder over the real queue, the real store and real sockets.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod away;
mod hostile;
mod http;
mod log;
mod post;
mod snippets;
mod stub;
mod tls;
mod world;
