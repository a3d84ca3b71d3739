//! From a queue to other people's consumers at the broker.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use orderwire_broker::{Broker, ErrorKind, Message, To};
use orderwire_types::QueueName;
use orderwire_types::envelope::render;
use orderwire_types::queue::Format;
use orderwire_worker::{Task, TaskHandler, Verdict};

/// Hands the deliveries of a native queue on to the queue of the same name at the broker,
/// in the form that its settings name. A worker of Orderwire's own that the queue also
/// has is served first.
///
/// At least once: the id of the event goes with it as the id of the message.
pub struct Relay {
    broker: Arc<dyn Broker>,
    queue: QueueName,
    format: Format,
    first: Option<Arc<dyn TaskHandler>>,
}

impl Relay {
    /// A relay to this queue.
    pub fn new(
        broker: Arc<dyn Broker>,
        queue: QueueName,
        format: Format,
        first: Option<Arc<dyn TaskHandler>>,
    ) -> Self {
        Self { broker, queue, format, first }
    }
}

#[async_trait]
impl TaskHandler for Relay {
    async fn handle(&self, task: &Task) -> Verdict {
        if let Some(first) = &self.first {
            match first.handle(task).await {
                Verdict::Ack => {}
                other => return other,
            }
        }
        let event = &task.event;
        let content_type = match self.format {
            Format::Cloudevents => "application/cloudevents+json",
            Format::MessageAttributes | Format::Flat => "application/json",
        };
        let message = Message {
            to: To::Queue(self.queue.clone()),
            id: event.id.to_string(),
            key: Some(event.order_key().to_owned()),
            content_type,
            headers: Vec::new(),
            body: Bytes::from(render(event, self.format)),
        };
        match self.broker.publish(vec![message]).await.pop() {
            Some(Ok(())) => Verdict::Ack,
            Some(Err(error)) if error.kind() == ErrorKind::TooLarge => {
                Verdict::Fail { cause: error.to_string() }
            }
            Some(Err(error)) => Verdict::Retry { after: None, cause: error.to_string() },
            None => Verdict::Retry { after: None, cause: "the broker gave no answer".to_owned() },
        }
    }
}
