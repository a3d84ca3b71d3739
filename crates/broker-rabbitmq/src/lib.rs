//! RabbitMQ as a broker, over AMQP 0-9-1.
//!
//! What is published to a type goes to one durable topic exchange with the type as
//! routing key; a queue is bound to it by its patterns, which mean the same there. What
//! is published to a queue goes through the default exchange. Every message is
//! persistent, mandatory and confirmed.
//!
//! There are two connections, each supervised and made anew by itself: one that
//! publishes, one that declares and consumes. RabbitMQ stops reading from connections
//! that publish when it runs out of memory or disk, and consumers must be able to ack
//! just then.
//!
//! Invariants: a channel that fails harms no other channel; nothing is published while
//! the broker says that it is blocked; what is not confirmed is bounded in bytes; no
//! error and no debug output holds credentials.

mod broker;
mod consumer;
mod cut;
mod error;
mod largest;
mod link;
mod options;
mod publisher;
mod topology;

pub use broker::RabbitBroker;
pub use options::Options;
