//! The store on PostgreSQL, which several processes share.
//!
//! [`PostgresStore`] is the async edge. What a table holds is said in `migrations/store/`,
//! what that of a dataset is like in `table`.
//!
//! Invariants:
//! - a write is one transaction and returns after its commit; one whose COMMIT was not
//!   answered is asked for, not done again (`session`);
//! - memory (definitions, generations) only ever is what the database was. This process
//!   sees its own changes at once, those of others within a second (`follow`);
//! - whoever records rows of a dataset holds its row in `store.dataset` until the commit:
//!   `_seq` only grows, is never given twice, and becomes visible in its order on all nodes.
//!   A row that takes the place of another gets the event, the time and the `_seq` of its own
//!   arrival. Locks are taken in one order: datasets by name, the reader, tables;
//! - identifiers in statements come from a checked definition or from this module, values
//!   are always bound.
//!
//! What PostgreSQL cannot keep is `Invalid`: a key of more than some 2,700 bytes, of which it
//! makes no index (a server takes none that is so long), and a row of so many long values that
//! no page holds what stands for them.

mod batch;
mod catalogue;
mod clients;
mod datasets;
mod define;
mod delivery_log;
mod error;
mod evolve;
mod expr;
mod filter;
mod follow;
mod imports;
mod keys;
mod latest;
mod links;
mod numeric;
mod open;
mod orders;
mod partitions;
mod pattern;
mod plan;
mod record;
mod remembered;
mod select;
mod session;
#[cfg(feature = "testkit")]
mod statements;
mod sweep;
mod table;
mod traces;
mod value;

pub use open::{Options, PostgresStore};
#[cfg(feature = "testkit")]
pub use statements::statements;
