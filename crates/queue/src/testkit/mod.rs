//! The conformance suite of queue engines: every promise of
//! [`crate::engine`] as a named case that any engine can be put to.
//!
//! An engine crate calls it from its tests with one line per set-up:
//!
//! ```text
//! orderwire_queue::engine_conformance!(std::sync::Arc::new(MyFactory::new()));
//! ```
//!
//! Each case gets a factory of its own, that is, an empty place. Time is passed
//! in by hand; nothing sleeps. A case reports what is broken as an error instead
//! of a panic, so that [`twins`] can show that the suite notices.

mod bench;
mod cases;
mod model;
pub mod twins;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::bench::{Bench, def};
pub use self::cases::cases;
pub use self::model::{ModelEngine, ModelPlace};
use crate::engine::Engine;

/// Opens engines on one place that outlives them.
#[async_trait]
pub trait Factory: Send + Sync {
    /// Opens the engine. Called again after the engine before was dropped; all
    /// that was acknowledged must be there then.
    ///
    /// # Errors
    /// Why it cannot be opened, in plain words.
    async fn open(&self) -> Result<Arc<dyn Engine>, String>;
}

/// A case of the suite.
pub type Case = orderwire_types::testkit::Case<dyn Factory>;

/// Puts an engine to the case of this name; for [`crate::engine_conformance`].
///
/// # Panics
/// When the engine breaks the promise.
pub async fn check(name: &str, factory: Arc<dyn Factory>) {
    let case = cases().into_iter().find(|case| case.name == name).expect("a case of this name");
    if let Err(broken) = case.run(factory).await {
        panic!("{name}: {broken}");
    }
}
