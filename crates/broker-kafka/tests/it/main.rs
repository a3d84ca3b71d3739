//! Kafka as a broker, against the client library's own cluster: several servers in this
//! process that speak the protocol over sockets. They know topics, partitions, producers
//! with sequence numbers and consumer groups, and can be told to fail. They do not know
//! rights, passwords and TLS, and cannot be asked for topics: those are made beforehand.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod conformance;
mod declare;
mod faults;
mod foreign;
mod groups;
mod publish;
mod replaced;
mod support;
mod tansu;
