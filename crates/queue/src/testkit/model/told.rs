//! What engines on one place tell each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::broadcast;

use crate::engine::Elsewhere;

/// So much that was not heard yet is kept.
const KEPT: usize = 1_024;

/// The way from each engine to the others.
#[derive(Clone)]
pub(super) struct Told {
    sender: broadcast::Sender<(u64, Elsewhere)>,
    engines: Arc<AtomicU64>,
}

impl Default for Told {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(KEPT), engines: Arc::default() }
    }
}

impl Told {
    /// The number of another engine, and what it is told from now on.
    pub(super) fn another(&self) -> (u64, broadcast::Receiver<(u64, Elsewhere)>) {
        (self.engines.fetch_add(1, Ordering::Relaxed), self.sender.subscribe())
    }

    /// An error means that nobody listens.
    pub(super) fn tell(&self, by: u64, news: Elsewhere) {
        let _ = self.sender.send((by, news));
    }
}
