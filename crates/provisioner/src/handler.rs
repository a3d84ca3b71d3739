//! The handler of the queue `infra`.

use async_trait::async_trait;
use orderwire_worker::{Task, TaskHandler, Verdict};

use crate::provisioner::Provisioner;

/// Makes orders of events.
pub struct OrderEvents {
    provisioner: Provisioner,
}

impl OrderEvents {
    /// Hands the orders of the queue `infra` to this provisioner.
    pub fn new(provisioner: Provisioner) -> Self {
        Self { provisioner }
    }
}

#[async_trait]
impl TaskHandler for OrderEvents {
    async fn handle(&self, task: &Task) -> Verdict {
        let _ = (&self.provisioner, task);
        todo!()
    }
}
