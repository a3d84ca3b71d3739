//! The same rows on both engines, asked the same: what one answers, the other answers, to the
//! last byte.

mod computed;
mod cursors;
mod engines;
mod explode;
mod generated;
mod injected;
mod newest;
