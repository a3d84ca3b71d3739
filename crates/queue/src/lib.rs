//! Durable queues: what is scheduled is written once, here, over a narrow
//! [`Engine`] port that every storage engine fills.
//!
//! - [`Queues`] is what everyone else uses: publish, lease, settle, look.
//! - [`Service`] runs behind it: one commit at a time, in groups.
//! - [`engine`] is the port, and the specification of what an engine promises.
//!
//! Owner of: deliveries, stream positions, dead letters, remembered event ids,
//! and the trace steps of all these.
//!
//! Invariants: a publish returns after its commit; nothing is in memory only, how
//! far a replay at a rate is aside; a queue knows nothing of HTTP, workers or brokers.

mod catalog;
mod clock;
mod commit;
pub mod engine;
pub mod error;
mod holders;
pub mod model;
mod options;
mod queues;
mod replay;
mod service;
#[cfg(feature = "testkit")]
pub mod testkit;
mod wake;

pub use clock::{Clock, ManualClock};
pub use engine::{Engine, NamedRequest};
pub use error::{Error, ErrorKind};
pub use model::{
    DeadFilter, DeadLetter, DeadPage, DeadRef, DeadRefs, Delivery, DeliveryId, Entry, Figures, Position,
    QueueState, Settlement, TraceView,
};
pub use options::Options;
pub use queues::{Arrived, Consumer, LeaseRequest, Publication, Published, PublishedEvent, Queues, Selected};
pub use replay::{RATE_MAX, Replay, ReplayId, ReplayState};
pub use service::Service;
