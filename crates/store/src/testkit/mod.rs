//! The conformance suite: every promise of the store as a named case. An
//! engine passes all of them; a broken twin (an engine that breaks one
//! promise) must fail at least one.

mod cases;
pub mod forward;
mod kit;
mod orders;
mod rows;
mod twin;

use std::sync::Arc;

use async_trait::async_trait;

pub use cases::cases;
pub use orders::sample as sample_order;
pub use twin::{Fault, TwinFactory};

use crate::traits::Store;

/// Makes the store that a case works on.
#[async_trait]
pub trait Factory: Send + Sync + 'static {
    /// Opens the store: empty the first time, afterwards with all that was
    /// written. What was opened before is dropped by then.
    async fn open(&self) -> Result<Arc<dyn Store>, String>;
}

/// A statement that an engine makes of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its text.
    pub sql: String,
    /// How many values are bound to it.
    pub values: usize,
}

/// A case of the suite.
pub type Case = orderwire_types::testkit::Case<dyn Factory>;
