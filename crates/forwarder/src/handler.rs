//! The handler of an endpoint's queue.

use std::sync::Arc;

use async_trait::async_trait;
use orderwire_types::scope::Clients;
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
            // The queue takes events by their type alone.
            let name = forward.endpoint.name().to_string();
            metrics::counter!("orderwire_forward_passed_over_total", "forward" => name).increment(1);
            return Verdict::Ack;
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
