//! The contract of what is stored beside the queues: datasets and their rows,
//! clients, keys, and the trace records of workers.
//!
//! - [`Datasets`]: typed tables, written by the recorder alone, read by the query side.
//! - [`Clients`]: who there is; written by the recorder.
//! - [`Keys`]: who may call; written by the gateway.
//! - [`Traces`]: the steps that workers recorded with their effects.
//! - [`Orders`]: orders, releases and revisions; written by the provisioner.
//! - [`DeliveryLog`]: attempts at endpoints; written by the forwarder.
//! - [`Turns`]: what one process of several does alone.
//!
//! Every call takes a [`Scope`](orderwire_types::Scope) or is for Orderwire's own use and says so.
//! Invariants: what a write returned is durable; a read after it sees it; no
//! SQL and no engine type crosses this boundary.

pub mod contain;
pub mod error;
pub mod evolve;
pub mod expr;
pub mod groups;
pub mod latest;
pub mod like;
pub mod lineage;
pub mod log;
mod merge;
pub mod model;
pub mod orders;
pub mod part;
pub mod regular;
mod rows;
pub mod select;
mod steps;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod traits;
pub mod turn;
pub mod typed;

pub use error::{Error, ErrorKind};
pub use evolve::Loss;
pub use expr::{Aggregate, Arrow, Expr, Value};
pub use lineage::{KnownCause, Lineage, Link};
pub use log::DeliveryLog;
pub use model::*;
pub use orders::Orders;
pub use rows::each_row;
pub use select::{Cell, Column, Compare, Count, Filter, Nulls, Operand, OrderBy, RowSink, Select, Selected};
pub use steps::recorded_steps;
pub use traits::{Clients, Datasets, Keys, Store, Traces};
pub use turn::{OwnTurns, Turn, Turns};
