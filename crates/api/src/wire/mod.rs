//! What goes over the wire, one file per resource.

mod datasets;
mod dead;
mod events;
mod forwards;
mod keys;
mod orders;
mod queues;
mod rules;
mod traces;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use datasets::*;
pub use dead::*;
pub use events::*;
pub use forwards::*;
pub use keys::*;
pub use orders::*;
pub use queues::*;
pub use rules::*;
pub use traces::*;

/// A page of a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor of the next page, to be sent as `after`; null at the end.
    pub next: Option<String>,
}
