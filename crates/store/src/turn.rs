//! What one process of those that share a store does alone.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

/// Who does alone what only one at a time should do.
///
/// It spares work, and keeps two machines from running the same thing. What must not happen
/// twice is safe without it, because who lost a turn does not know at once: positions and
/// leases see to that.
#[async_trait]
pub trait Turns: Send + Sync {
    /// Waits until nobody has the turn of this name, in this process or in another on the same
    /// store, and takes it. It ends with the value, with the process, and when the store
    /// cannot be reached for some seconds ([`Turn::lost`]); who waits has it within a few
    /// seconds then. A store that is away is waited for. Dropped, it waits no more.
    async fn turn(&self, name: &str) -> Turn;
}

/// A turn, until it is dropped or lost.
pub struct Turn {
    alive: watch::Receiver<()>,
    _kept: Box<dyn Send + Sync>,
}

impl Turn {
    /// A turn that is lost when the sender of `alive` is gone, and ends with `kept`.
    pub fn new(alive: watch::Receiver<()>, kept: impl Send + Sync + 'static) -> Self {
        Self { alive, _kept: Box::new(kept) }
    }

    /// Returns when it is lost: somebody else may have it.
    pub async fn lost(&mut self) {
        while self.alive.changed().await.is_ok() {}
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn")
    }
}

/// The turns of a store that one process has to itself: none is ever lost.
#[derive(Debug, Default)]
pub struct OwnTurns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

#[async_trait]
impl Turns for OwnTurns {
    async fn turn(&self, name: &str) -> Turn {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(name.to_owned()).or_default())
        };
        let (alive, seen) = watch::channel(());
        Turn::new(seen, (turn.lock_owned().await, alive))
    }
}
