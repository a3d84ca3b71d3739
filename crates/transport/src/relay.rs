//! From a queue to other people's consumers at the broker.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use orderwire_broker::{Broker, Error, ErrorKind, Message, QueueBinding, To};
use orderwire_types::Event;
use orderwire_types::envelope::render;
use orderwire_types::queue::Format;
use orderwire_worker::{Pause, Task, TaskHandler, Verdict};
use tokio::time::Instant;

/// How long a delivery is tried before it is given back, untried.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pauses between.
const PAUSE: Pause = Pause { first: Duration::from_millis(100), last: Duration::from_secs(2) };

/// Hands the deliveries of a native queue on to the queue of the same name at the broker,
/// in the form that its settings name. A worker of Orderwire's own that the queue also
/// has is served first, and again when the delivery comes again.
///
/// A broker that is away uses up no attempts: the delivery waits for it, however long.
/// At least once: the id of the event goes with it as the id of the message.
pub struct Relay {
    broker: Arc<dyn Broker>,
    binding: QueueBinding,
    format: Format,
    first: Option<Arc<dyn TaskHandler>>,
}

impl Relay {
    /// A relay to this queue of the broker, which has the name of the queue here.
    pub fn new(
        broker: Arc<dyn Broker>,
        binding: QueueBinding,
        format: Format,
        first: Option<Arc<dyn TaskHandler>>,
    ) -> Self {
        Self { broker, binding, format, first }
    }
}

impl Relay {
    /// Publishes one event to the broker's queue.
    async fn hand_on(&self, event: &Event) -> Result<(), Error> {
        let content_type = match self.format {
            Format::Cloudevents => "application/cloudevents+json",
            Format::MessageAttributes | Format::Flat => "application/json",
        };
        let message = Message {
            to: To::Queue(self.binding.name.clone()),
            id: event.id.to_string(),
            key: Some(event.order_key().to_owned()),
            content_type,
            headers: Vec::new(),
            body: Bytes::from(render(event, self.format)),
        };
        let unanswered = || Err(Error::new(ErrorKind::Unconfirmed, "the broker gave no answer"));
        let published = self.broker.publish(vec![message]).await.pop().unwrap_or_else(unanswered);
        match published {
            // Somebody removed the queue: it is made anew.
            Err(error) if error.kind() == ErrorKind::Unroutable => {
                self.broker.declare(&self.binding).await?;
                Err(error)
            }
            published => published,
        }
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
        let until = Instant::now() + PATIENCE;
        let mut failures = 0;
        loop {
            let error = match self.hand_on(&task.event).await {
                Ok(()) => return Verdict::Ack,
                Err(error) => error,
            };
            if error.kind() == ErrorKind::TooLarge {
                return Verdict::Fail { cause: error.to_string() };
            }
            failures += 1;
            let pause = PAUSE.after(failures);
            if Instant::now() + pause >= until {
                tracing::warn!(queue.name = %self.binding.name, %error, "a delivery waits for the broker");
                return Verdict::Release;
            }
            tokio::time::sleep(pause).await;
        }
    }
}
