//! Reads of what is stored: the PostgREST dialect under `/rest/{dataset}`,
//! views under paths of their own, and the cache in front of both.
//!
//! A request goes through four steps, each in its own module: the query string
//! becomes a tree (`dialect`), the cache layer answers or asks for a load
//! (`cached`), the load is one [`Select`](orderwire_store::Select) whose rows are
//! written straight into bytes (`read`, `sink`), and the bytes become a
//! response (`http`).
//!
//! Invariants: no SQL and no engine here; what is not supported is refused
//! with a sentence that says so, never read as something else; rows are never
//! held as a tree; a hit copies no body.

mod cached;
mod check;
mod coding;
mod cursor;
mod dialect;
mod error;
mod http;
mod options;
mod params;
mod read;
mod sink;
mod view;

pub use cached::Freshness;
pub use check::{ViewFault, check_view};
pub use error::{Error, ErrorKind};
pub use http::{Expected, Readback, is_answer, router};
pub use options::{Clock, Options};
pub use params::ParamDef;
pub use view::{RESERVED_PATHS, Read, Shape, ViewDef};
