//! What an append leaves in the trace of its event.

use jiff::Timestamp;
use orderwire_types::step::{Millis, Step};
use orderwire_types::{EventId, QueueName};
use uuid::Uuid;

use super::NewEntry;

/// What the steps of an append tell of its event.
#[derive(Clone, Copy, Debug)]
pub struct Appended<'a> {
    /// Its id.
    pub event_id: Uuid,
    /// Its type.
    pub event_type: &'a str,
    /// Who published it.
    pub principal: &'a str,
    /// When it was accepted.
    pub accepted_at: Timestamp,
}

impl Appended<'_> {
    /// The steps of an append to these task queues that was committed at `queued_at`, in
    /// their order.
    pub fn steps(&self, task_queues: &[QueueName], queued_at: Timestamp) -> Vec<Step> {
        let step = |role: &str, step: &str, at, queue| Step {
            queue,
            event_id: Some(self.event_id),
            ..Step::ok(at, role, step)
        };
        let mut steps = vec![Step {
            detail: Some(format!("{} from {}", self.event_type, self.principal)),
            ..step("gateway", "accepted", self.accepted_at, None)
        }];
        steps.extend(task_queues.iter().map(|queue| Step {
            duration_ms: Some(Millis::between(self.accepted_at, queued_at)),
            ..step("queue", "queued", queued_at, Some(queue.clone()))
        }));
        steps
    }
}

impl<'a> From<&'a NewEntry> for Appended<'a> {
    fn from(entry: &'a NewEntry) -> Self {
        Self {
            event_id: entry.event_id.0,
            event_type: entry.event_type.as_str(),
            principal: &entry.principal,
            accepted_at: entry.accepted_at,
        }
    }
}

/// The steps of an entry that waits in a stream. They are not stored: what is
/// recorded of the entry tells them later, with its effect.
pub fn waiting_steps(event: EventId, accepted_at: Timestamp, queue: &QueueName) -> [Step; 2] {
    let accepted = Step { event_id: Some(event.0), ..Step::ok(accepted_at, "gateway", "accepted") };
    let queued = Step {
        role: "queue".to_owned(),
        step: "queued".to_owned(),
        outcome: "waiting".to_owned(),
        queue: Some(queue.clone()),
        ..accepted.clone()
    };
    [accepted, queued]
}
