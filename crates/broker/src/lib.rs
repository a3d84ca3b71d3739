//! The contract of brokers: outside transports (RabbitMQ, NATS, Kafka) between
//! producers, Orderwire and other consumers.
//!
//! - [`Broker`] publishes with confirm, declares queues, and opens consumers.
//! - [`Consumer`] hands out messages, which come again until they are acked.
//! - [`Capabilities`] says as data in what brokers differ.
//! - [`Connection`] keeps a connection up for those whose client library does not.
//!
//! A broker transports. What is scheduled (order per key, fairness over clients,
//! attempts, delays, dead letters) is decided in the queue, behind the broker: a
//! message is acked to its broker as soon as it is safe in the queue, and no handler
//! ever holds one.
//!
//! Invariants: a publish that succeeded is durable as far as
//! [`Capabilities::durability`] says; a message is redelivered until it is acked,
//! so that it comes at least once; nothing waits without bound.

mod capabilities;
mod carried;
mod connection;
mod contract;
mod error;
mod login;
mod message;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use capabilities::{Capabilities, Durability, Ordering, Retention};
pub use carried::{CONTEXT, SIGNATURE, SigningKey};
pub use connection::{Connection, Connector, Keeping, in_time};
pub use contract::{Broker, Consumer, QueueBinding};
pub use error::{Error, ErrorKind};
pub use login::{Identity, Password, Tls};
pub use message::{HEADER_BYTES_MAX, Message, Received, Tag, To};
pub use orderwire_types::queue::Declare;
