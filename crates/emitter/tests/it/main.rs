//! Rules over events, from the text of a configuration to what is published.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod checked;
mod conditions;
mod digits;
mod documented;
mod handled;
mod hostile;
mod rules;
