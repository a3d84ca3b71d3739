//! The broker itself: what is asked goes to the connection that it is for.

use std::sync::Arc;

use async_trait::async_trait;
use orderwire_broker::{
    Broker, Capabilities, Connection, Consumer, Durability, Error, ErrorKind, Message, Ordering,
    QueueBinding, Retention, in_time,
};
use orderwire_types::{Pattern, QueueName};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::consumer::RabbitConsumer;
use crate::link::{self, Link, Purpose};
use crate::options::Options;
use crate::topology::Topology;

/// RabbitMQ.
pub struct RabbitBroker {
    options: Arc<Options>,
    topology: Arc<Topology>,
    publishing: Connection<Link>,
    consuming: Connection<Link>,
    /// Cancelled when everything has to end; at the latest when the broker is dropped.
    closing: CancellationToken,
    _closed_with_us: DropGuard,
}

impl RabbitBroker {
    /// Begins to connect, in tasks of the tokio runtime that it is called in. Whether it
    /// is connected is said by [`Broker::check`], which waits for the first attempt.
    pub fn start(options: Options) -> Self {
        let options = Arc::new(options);
        let topology = Topology::new(&options);
        let closing = CancellationToken::new();
        let keep = |purpose| link::keep(&options, purpose, &topology, closing.clone());
        Self {
            publishing: keep(Purpose::Publish),
            consuming: keep(Purpose::Consume),
            topology,
            _closed_with_us: closing.clone().drop_guard(),
            closing,
            options,
        }
    }
}

#[async_trait]
impl Broker for RabbitBroker {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "RabbitMQ",
            // Of quorum queues, which synchronise before they confirm. A classic queue
            // hands to the operating system first.
            durability: Durability::Power,
            ordering: Ordering::Queue,
            retention: Retention::UntilAcked,
            body_bytes_max: self.options.body_bytes_max,
            reports_unroutable: true,
            routes_by_pattern: true,
        }
    }

    async fn declare(&self, queue: &QueueBinding) -> Result<(), Error> {
        let declaring = async {
            let link = self.consuming.link().await?;
            self.topology.declare(&link.connection, queue).await
        };
        in_time(self.options.timeout, &format!("declare queue {}", queue.name), declaring).await
    }

    async fn unbind(&self, queue: &QueueName, types: &[Pattern]) -> Result<(), Error> {
        let unbinding = async {
            let link = self.consuming.link().await?;
            self.topology.unbind(&link.connection, queue, types).await
        };
        in_time(self.options.timeout, &format!("unbind queue {queue}"), unbinding).await
    }

    async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), Error>> {
        let until = Instant::now() + self.options.timeout;
        let link = match self.publishing.link_for(messages.len(), until).await {
            Ok(link) if link.is_blocked() => return blocked().for_each(messages.len()),
            Ok(link) => link,
            Err(answers) => return answers,
        };
        let publisher = link.publisher.as_ref().expect("a connection that publishes has a publisher");
        publisher.publish(messages, until).await
    }

    async fn consume(&self, queue: &QueueBinding, prefetch: u16) -> Result<Box<dyn Consumer>, Error> {
        let opening = async {
            let link = self.consuming.link().await?;
            RabbitConsumer::open(link, Arc::clone(&self.options), queue, prefetch).await
        };
        let consumer =
            in_time(self.options.timeout, &format!("consume from queue {}", queue.name), opening).await?;
        Ok(Box::new(consumer))
    }

    async fn check(&self) -> Result<(), Error> {
        let (consuming, publishing) = (self.consuming.link().await?, self.publishing.link().await?);
        if publishing.is_blocked() {
            return Err(blocked());
        }
        // One that ended is there until it was closed.
        if consuming.ended.is_cancelled() || publishing.ended.is_cancelled() {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the connection to the broker ended, and is made anew",
            ));
        }
        Ok(())
    }

    async fn close(&self) {
        self.closing.cancel();
        tokio::join!(self.publishing.ended(), self.consuming.ended());
    }
}

fn blocked() -> Error {
    Error::new(ErrorKind::Unavailable, "the broker runs out of memory or disk, and takes no messages")
}
