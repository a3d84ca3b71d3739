//! RabbitMQ as a broker, against real servers: one that runs already (`AMQP_URL`, by
//! default the one on this machine) with names of our own that are removed afterwards,
//! and servers of our own where one has to be stopped.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod conformance;
mod declare;
mod documented;
mod faults;
mod foreign;
mod own_server;
mod publish;
mod refused;
mod support;
