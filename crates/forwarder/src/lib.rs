//! The forwarder: events to HTTP endpoints of other systems, signed after [Standard
//! Webhooks](https://www.standardwebhooks.com).
//!
//! - An [`Endpoint`] is what is configured; what is wrong with it is told at once.
//! - A [`Forwarder`] has all of them: each has a task queue of its own,
//!   `forward-NAME`, so that a slow one delays no other. Its [`Service`] takes from these
//!   queues and posts.
//! - [`router`] serves `/v1/forwards`.
//!
//! How an event fares is decided in three places: the queue counts attempts, pauses
//! between those at one event and makes dead letters; a breaker per endpoint stops
//! leasing while the endpoint is away, so that what waits keeps its attempts; the
//! [guard](Lookup) lets no call leave for an address that only this machine or its
//! network can reach.
//!
//! Owner of: the delivery log.
//!
//! Invariants: no redirect is followed and no proxy asked; a name is resolved by the
//! guard alone and the connection goes to the address that was checked; of an answer at
//! most a few KiB are read; the delivery log never holds a delivery up.

mod answer;
mod breaker;
mod endpoint;
mod forwarder;
mod guard;
mod handler;
mod http;
mod log;
mod sender;
mod service;
mod signer;

pub use breaker::BreakerOptions;
pub use endpoint::{Endpoint, EndpointFault, EndpointOptions, HeaderContent, Part};
pub use forwarder::{Forwarder, Parts};
pub use guard::{Lookup, SystemLookup};
pub use http::router;
pub use service::Service;
pub use signer::Signer;
