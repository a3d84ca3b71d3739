//! Carries events between the queues and a broker.
//!
//! - [`Carrier`] publishes what the gateway accepted, and keeps it in a [`Spool`] while
//!   the broker is away; [`Drain`] empties that in order.
//! - [`Intake`] takes in what waits at the broker for one queue: it is acked there as soon
//!   as it is safe here, in the queue or, for the worker of a stream, with its effect.
//! - [`Relay`] hands the deliveries of a queue on to other people's consumers at the broker.
//!
//! Invariants: nothing is acked before it is durable; what comes twice is taken in once,
//! where anything names it; a broker that is away loses nothing and costs no thread, only
//! bounded space.

mod carrier;
mod intake;
mod relay;
mod spool;
mod topology;

pub use carrier::Carrier;
pub use intake::{Destination, Intake, IntakeOptions, Reader};
pub use relay::Relay;
pub use spool::{Drain, Spool};
pub use topology::Topology;
