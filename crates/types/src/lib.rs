//! The vocabulary of Orderwire: the event and its envelopes, ids, names,
//! patterns, scope and limits.
//!
//! Invariants: no I/O, no async runtime, no clock. Whoever needs the time or
//! randomness passes it in, so that everything here is a pure function.

pub mod address;
pub mod array;
pub mod dataset;
pub mod decimal;
pub mod envelope;
pub mod event;
pub mod identity;
pub mod ids;
pub mod json;
pub mod limits;
pub mod names;
pub mod order;
pub mod pattern;
pub mod problem;
pub mod queue;
pub mod row;
pub mod scope;
pub mod step;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod topic;

pub use decimal::Decimal;
pub use event::{Data, Event, Origin};
pub use ids::{EventId, TraceId};
pub use json::RawJson;
pub use limits::Limits;
pub use names::{Client, ColumnName, DatasetName, EventType, Label, QueueName};
pub use order::{Action, OrderState, ReleaseState};
pub use pattern::Pattern;
pub use problem::{Failure, FailureKind, Fault, FaultKind};
pub use scope::{Right, Scope};
