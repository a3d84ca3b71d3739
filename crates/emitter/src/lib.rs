//! The emitter: when an event comes that a rule of the configuration looks at, and the
//! rule's condition holds, further events are made from its templates and published, with
//! the first as their cause and on its trace.
//!
//! - [`Rules`] are the rules, read once. What is wrong with them is found by
//!   [`faults`]; what they would do with an event by [`Rules::trial`].
//! - [`Emitter`] handles the queue `rules`.
//! - [`Publisher`] is the port through which it publishes.
//!
//! Invariants: a value is never structure: templates fill texts and values into a tree
//! that the configuration wrote, so that nothing an event holds can add a member. Numbers
//! keep their digits from the event to what is emitted. The same event has its effect
//! once, because what it causes has ids that follow from it. A circle of rules ends,
//! because each event knows how many rules in a row led to it. Everything that an
//! event can make the expressions do is bounded.
//!
//! Absent on purpose: order, retries, attempts and dead letters are the queue's, time-outs
//! the worker runtime's.

mod check;
mod data;
mod emit;
mod expression;
mod handler;
mod ports;
mod trial;

pub use check::{RuleFault, faults};
pub use emit::{Bounds, Rules};
pub use handler::Emitter;
pub use ports::{PublishError, Publisher};
