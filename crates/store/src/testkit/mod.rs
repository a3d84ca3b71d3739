//! The conformance suite: every promise of the store as a named case. An
//! engine passes all of them; a broken twin (an engine that breaks one
//! promise) must fail at least one.

mod cases;
mod kit;
mod orders;
mod rows;

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;

pub use cases::cases;

use crate::traits::Store;

/// Makes the store that a case works on.
#[async_trait]
pub trait Factory: Send + Sync + 'static {
    /// Opens the store: empty the first time, afterwards with all that was
    /// written. What was opened before is dropped by then.
    async fn open(&self) -> Result<Arc<dyn Store>, String>;
}

/// A case in progress.
pub type Running = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// One promise and how to see that it is kept.
#[derive(Clone, Copy)]
pub struct Case {
    /// What is promised, in words joined by underscores.
    pub name: &'static str,
    run: fn(Arc<dyn Factory>) -> Running,
}

impl Case {
    /// Runs the case on a factory of its own, which has opened nothing yet.
    pub fn run(&self, factory: Arc<dyn Factory>) -> Running {
        (self.run)(factory)
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
