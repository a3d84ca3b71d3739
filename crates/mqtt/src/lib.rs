//! Subscribes to an MQTT broker and hands on what comes.
//!
//! - [`Service`] keeps one connection, for as long as it runs, whatever happens to it.
//! - [`Port`] makes messages durable; who runs a service fills it.
//! - [`Handle`] says how the connection is.
//!
//! The protocol itself, its packets and the rules of its states, is the library's
//! (`mqtt-protocol-core`), which does no I/O. Two things are here because no library leaves
//! them to its user: a session whose acknowledgements wait for the port, in order, over the
//! end of a connection, and whose socket is not read while too much is held; and the cutting of
//! the stream into packets (`frames`). The library ends the connection at a message that is too
//! large, the broker would send it again with the next one, and nothing behind it would ever come.
//!
//! Invariants: a message of QoS 1 is acknowledged after the port said that it is durable,
//! in the order of arrival, and comes again until then; what is held at once is bounded in
//! number and in bytes, beyond it the socket is not read; no message stops those behind it;
//! no wait for the broker is without end.

mod error;
mod frames;
mod message;
mod options;
mod packets;
mod service;
mod session;
mod shelf;
mod socket;

pub use error::{Error, ErrorKind};
pub use message::{Message, Outcome, Port};
pub use options::{Address, Filter, Login, Options, Tls, Version};
pub use service::{Handle, Service};
