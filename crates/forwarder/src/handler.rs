//! The handler of an endpoint's queue.

use std::sync::Arc;

use async_trait::async_trait;
use orderwire_types::scope::Clients;
use orderwire_types::step::{Step, TraceRecord};
use orderwire_worker::{Task, TaskHandler, Verdict};

use crate::breaker::Position;
use crate::forwarder::Forward;

/// Posts what the queue of an endpoint holds.
pub(crate) struct Posts(pub(crate) Arc<Forward>);

#[async_trait]
impl TaskHandler for Posts {
    async fn handle(&self, task: &Task) -> Verdict {
        let forward = &self.0;
        if let Clients::Only(clients) = &forward.endpoint.options.clients
            && !clients.contains(&task.event.client)
        {
            return self.pass_over(task).await;
        }
        if let Some(limiter) = &forward.limiter {
            // One after the other, so that none waits for more than those before it.
            let _turn = forward.turn.lock().await;
            limiter.until_ready().await;
        }
        // The endpoint asked for a pause, or went away, meanwhile.
        if matches!(forward.breaker.view().position, Position::Open { .. }) {
            return Verdict::Release;
        }
        let answer = forward.post(&task.event, task.delivery.attempt).await;
        forward.note(&answer);
        answer.verdict()
    }
}

impl Posts {
    /// The queue takes events by their type alone; the trace says why the endpoint does
    /// not get this one.
    async fn pass_over(&self, task: &Task) -> Verdict {
        let (event, forward) = (&task.event, &self.0);
        let why = format!("{} gets no events of client {}", forward.endpoint.name(), event.client);
        let step = Step {
            queue: Some(forward.endpoint.options.queue.clone()),
            event_id: Some(event.id.0),
            attempt: Some(task.delivery.attempt),
            detail: Some(why),
            ..Step::ok(forward.clock.now(), "forwarder", "passed over")
        };
        let record = TraceRecord { trace: event.trace.id, client: event.client.clone(), steps: vec![step] };
        match forward.store.add_steps(&[record]).await {
            Ok(()) => Verdict::Ack,
            Err(error) => Verdict::Retry { after: None, cause: error.to_string() },
        }
    }
}
