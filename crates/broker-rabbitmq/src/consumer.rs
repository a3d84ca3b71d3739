//! A consumer: a channel of its own, with as many unacked messages as it may hold.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use orderwire_broker::{Consumer, Error, ErrorKind, QueueBinding, Received, Tag};
use tokio::time::timeout;

use crate::error;
use crate::link::Link;
use crate::options::Options;
use crate::topology;

/// A consumer of one queue.
pub(crate) struct RabbitConsumer {
    stream: lapin::Consumer,
    channel: Channel,
    /// What was handed out and is neither acked nor given back.
    held: BTreeSet<u64>,
    /// Why it is of no use any more.
    failure: Option<Error>,
    options: Arc<Options>,
    queue: String,
    /// Ends with the connection, also where the library does not tell.
    link: Arc<Link>,
}

impl RabbitConsumer {
    /// Opens a consumer on a connection.
    ///
    /// # Errors
    /// `Conflict`, `Refused`, `Unavailable`.
    pub(crate) async fn open(
        link: Arc<Link>,
        options: Arc<Options>,
        queue: &QueueBinding,
        prefetch: u16,
    ) -> Result<Self, Error> {
        let what = format!("consume from queue {}", queue.name);
        let failed = |error| error::of_call(&what, &error);
        let channel = topology::channel(&link.connection).await?;
        // None is no bound at all for the server.
        channel.basic_qos(prefetch.max(1), BasicQosOptions::default()).await.map_err(failed)?;
        let tag = ShortString::default();
        let asked = BasicConsumeOptions::default();
        let name = ShortString::from(queue.name.as_str());
        let stream = channel.basic_consume(name, tag, asked, FieldTable::default()).await.map_err(failed)?;
        let (held, failure, queue) = (BTreeSet::new(), None, queue.name.to_string());
        Ok(Self { stream, channel, held, failure, options, queue, link })
    }

    /// A delivery as the contract has it; or the end.
    fn received(&mut self, delivery: Option<lapin::Result<Delivery>>) -> Result<Received, Error> {
        let what = || format!("consume from queue {}", self.queue);
        let failure = match delivery {
            Some(Ok(delivery)) => {
                self.held.insert(delivery.delivery_tag);
                return Ok(translate(delivery, &self.options.exchange));
            }
            // Of a connection that ended nothing else is known.
            Some(Err(error)) => match error::of_call(&what(), &error) {
                refused if refused.kind() == ErrorKind::Refused => refused,
                other => Error::new(ErrorKind::Unavailable, other.to_string()),
            },
            None => {
                let why = format!("{}: the broker ended it; the queue was deleted, or is away", what());
                Error::new(ErrorKind::Unavailable, why)
            }
        };
        self.failure = Some(failure.clone());
        Err(failure)
    }

    /// What to settle, and up to which tag all that is held is settled by it.
    fn settled(&mut self, tags: &[Tag]) -> (Option<u64>, Vec<u64>) {
        let mut settled: BTreeSet<u64> = BTreeSet::new();
        for Tag(tag) in tags {
            if self.held.remove(tag) {
                settled.insert(*tag);
            }
        }
        let others = self.held.first().copied().unwrap_or(u64::MAX);
        let single = settled.split_off(&others);
        (settled.last().copied(), single.into_iter().collect())
    }

    /// Ends with an error when the call does, or the time-out.
    async fn done<T>(
        &mut self,
        what: &str,
        call: impl Future<Output = lapin::Result<T>> + Send,
    ) -> Result<(), Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let within: Duration = self.options.timeout;
        let what = format!("{what} messages of queue {}", self.queue);
        let failure = match timeout(within, call).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => Error::new(ErrorKind::Unavailable, format!("{what}: {error}")),
            Err(_) => Error::late(&what, within),
        };
        self.failure = Some(failure.clone());
        Err(failure)
    }
}

#[async_trait]
impl Consumer for RabbitConsumer {
    async fn next(&mut self, max: usize) -> Result<Vec<Received>, Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let first = tokio::select! {
            biased;
            first = self.stream.next() => first,
            () = self.link.ended.cancelled() => None,
        };
        // From here on nothing is awaited, so that nothing is lost when nobody waits.
        let mut batch = vec![self.received(first)?];
        while batch.len() < max {
            let Some(next) = self.stream.next().now_or_never() else { break };
            // A failure is told by the next call: what is here comes first.
            let Ok(next) = self.received(next) else { break };
            batch.push(next);
        }
        Ok(batch)
    }

    async fn ack(&mut self, tags: &[Tag]) -> Result<(), Error> {
        let (up_to, single) = self.settled(tags);
        let channel = self.channel.clone();
        let acks = async move {
            if let Some(tag) = up_to {
                channel.basic_ack(tag, BasicAckOptions { multiple: true }).await?;
            }
            for tag in single {
                channel.basic_ack(tag, BasicAckOptions::default()).await?;
            }
            Ok(())
        };
        self.done("ack", acks).await
    }

    async fn give_back(&mut self, tags: &[Tag]) -> Result<(), Error> {
        let (up_to, single) = self.settled(tags);
        let channel = self.channel.clone();
        let nacks = async move {
            if let Some(tag) = up_to {
                channel.basic_nack(tag, BasicNackOptions { multiple: true, requeue: true }).await?;
            }
            for tag in single {
                channel.basic_nack(tag, BasicNackOptions { multiple: false, requeue: true }).await?;
            }
            Ok(())
        };
        self.done("give back", nacks).await
    }
}

/// A delivery in the words of the contract. `exchange` is the one whose routing keys are
/// types.
fn translate(delivery: Delivery, exchange: &str) -> Received {
    let properties = &delivery.properties;
    let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
    let event_type = if delivery.exchange.as_str() == exchange {
        Some(delivery.routing_key.to_string())
    } else {
        // Published in another way, by others: what they say it is.
        text(properties.kind())
    };
    let headers = properties.headers().iter().flat_map(FieldTable::inner);
    let headers = headers.filter_map(|(name, value)| {
        let text = match value {
            AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok()?,
            AMQPValue::ShortString(text) => text.as_str(),
            _ => return None,
        };
        Some((name.as_str().to_ascii_lowercase(), text.to_owned()))
    });
    Received {
        tag: Tag(delivery.delivery_tag),
        id: text(properties.message_id()),
        event_type,
        content_type: text(properties.content_type()),
        headers: headers.collect(),
        redelivered: delivery.redelivered,
        body: delivery.data.into(),
    }
}
