//! The store on SQLite: the file `store.db`.
//!
//! [`SqliteStore`] is the async edge. Writes go to one writer thread, which
//! puts those that wait into one transaction and answers after its commit;
//! reads go to read-only connections and end when their time is up or their
//! caller has gone. What a table holds is said in `migrations/store/`,
//! which indexes that of a dataset has in `indexes`.
//!
//! Invariants:
//! - a write that is refused leaves nothing behind in the shared transaction
//!   (each has a savepoint); when the engine fails one, the whole transaction
//!   is taken back and each write of it has a transaction of its own;
//! - what is kept in memory (definitions, generations) changes after the
//!   commit and before the answer;
//! - `_seq` only grows, over restarts and deletions too. A row that takes the
//!   place of another gets the event, the time and the `_seq` of its own
//!   arrival, so that whoever reads on by `_seq` sees it;
//! - identifiers in statements come from a checked definition or from this
//!   module, values are always bound.

mod catalogue;
mod clients;
mod datasets;
mod define;
mod delivery_log;
mod error;
mod evolve;
mod expr;
mod filter;
mod functions;
mod imports;
mod indexes;
mod keys;
mod latest;
mod links;
mod open;
mod orders;
mod pattern;
mod plan;
mod record;
mod select;
#[cfg(feature = "testkit")]
mod statements;
mod sweep;
mod table;
mod traces;
mod writer;

#[cfg(test)]
mod tests;

pub use open::{Options, SqliteStore};
#[cfg(feature = "testkit")]
pub use statements::statements;
