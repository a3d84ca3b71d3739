//! Expressions over an event: MiniJinja's language, with stricter words.
//!
//! Everything is compiled and run by MiniJinja. Between the two, the instructions of operators
//! are exchanged for functions of our own (`operations`), for three reasons: MiniJinja
//! compares a text with a number without a word (`"5" > 90` is true, and an alarm), its
//! numbers lose digits, and what `*` and `~` make is unbounded. What has no place in an expression of
//! a rule, such as calls, is refused there as well.
//!
//! The event is read as far as it is asked for (`json`). Filters and tests are those
//! that are listed, each within an allowance (`filters`).

mod compile;
mod decimal;
mod engine;
mod filters;
mod json;
mod numbers;
mod operations;
mod predicates;
mod print;
mod work;

pub(crate) use compile::{Piece, Wrong, check_expression, check_piece, is_template, pieces, read_template};
pub(crate) use engine::{Condition, Engine};
pub(crate) use print::write_text;
