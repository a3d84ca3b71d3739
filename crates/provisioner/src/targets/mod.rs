//! The targets that there are.

pub mod process;
