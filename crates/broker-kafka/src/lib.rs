//! Kafka as a broker.
//!
//! **A queue is a topic of its name**, and its intake the consumer group `PREFIX.NAME`.
//! What is published to a type goes to the topic of every queue that is bound to it: Kafka
//! does not route, so the publisher does, by bindings that all servers read from the topic
//! `PREFIX.bindings`. Messages of one key are in one partition, in order.
//!
//! **A group knows one offset for a partition**, and messages are acked one by one. The offset is
//! that of the first message that is not acked; what is acked behind it, and up to where
//! messages were handed out, stands in the text that Kafka keeps with it. So nothing that
//! was acked comes again after a consumer ended, and what comes again is marked.
//!
//! Invariants: an offset never passes a message that is not acked; a partition is read by
//! one consumer of the group, and acks of one that was lost are ignored; what is published
//! and not confirmed, and what is fetched ahead, is bounded in bytes; whatever waits in the
//! client library waits in a thread that may; no error and no debug output holds
//! credentials.

mod bindings;
mod broker;
mod client;
mod consumer;
mod error;
mod ledger;
mod link;
mod options;
mod publisher;
mod topics;
mod wire;

pub use broker::KafkaBroker;
pub use options::{Login, Mechanism, Options};
