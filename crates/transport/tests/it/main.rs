//! Carrier, spool, drain, intake and relay between the scheduler and the reference broker, in
//! paused time; and the same once over Kafka.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod direct;
mod kafka;
mod out;
mod relay;
mod topology;
mod world;
