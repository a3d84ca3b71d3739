//! The queues at the broker, all of them.

use std::sync::atomic::{AtomicBool, Ordering};

use orderwire_broker::{Broker, QueueBinding};
use orderwire_worker::Pause;

/// Every queue that has to be at the broker before anything is published there: an event
/// that is published while one of its queues is still missing would not reach that one,
/// and nobody would say so.
pub struct Topology {
    bindings: Vec<QueueBinding>,
    made: AtomicBool,
}

impl Topology {
    /// These queues, which nobody has made yet.
    pub fn new(bindings: Vec<QueueBinding>) -> Self {
        Self { bindings, made: AtomicBool::new(false) }
    }

    /// Whether all of them were there once since the start. What is deleted afterwards is
    /// made anew by its intake.
    pub fn is_made(&self) -> bool {
        self.made.load(Ordering::SeqCst)
    }

    /// Makes all of them, however long the broker is away.
    pub async fn make(&self, broker: &dyn Broker) {
        let (pause, mut failures) = (Pause::default(), 0);
        for binding in &self.bindings {
            while let Err(error) = broker.declare(binding).await {
                failures += 1;
                tracing::warn!(queue.name = %binding.name, %error, "cannot make a queue at the broker, which is tried again");
                tokio::time::sleep(pause.after(failures)).await;
            }
        }
        self.made.store(true, Ordering::SeqCst);
    }
}
