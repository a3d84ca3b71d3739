//! Envelopes, identity and rows from the outside.

#![expect(clippy::unwrap_used, reason = "a test may fail at once, its helpers too")]

mod cloudevents;
mod examples;
mod hostile;
mod identity;
mod properties;
mod rows;
mod support;
