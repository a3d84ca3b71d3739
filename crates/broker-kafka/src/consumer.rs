//! A consumer: a client of its own in the consumer group of its queue.
//!
//! A thread drives the client (rebalances, errors, the end); messages come through a queue
//! for each partition, and are taken from there only when there is room for them.

mod group;
mod hand;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orderwire_broker::{Consumer, Error, ErrorKind, QueueBinding, Received, Tag};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::group::{Driver, Member};
use self::hand::{Hand, Next};
use crate::client;
use crate::error;
use crate::options::Options;
use crate::topics::blocking;

/// The pause before a commit is tried again that came during a rebalance.
const PAUSE: Duration = Duration::from_millis(50);

/// A consumer of one queue.
pub(crate) struct KafkaConsumer {
    hand: Arc<Hand>,
    member: std::sync::Weak<BaseConsumer<Member>>,
    options: Arc<Options>,
    /// Ends the thread with us.
    _ended_with_us: DropGuard,
}

impl KafkaConsumer {
    /// Joins the group of a queue whose topic is there. Waits for its first partitions, but
    /// not for good: another consumer that died holds them for a while.
    ///
    /// # Errors
    /// `Refused`, `Unavailable`.
    pub(crate) async fn open(
        options: Arc<Options>,
        queue: &QueueBinding,
        prefetch: u16,
        ended: CancellationToken,
        threads: &TaskTracker,
    ) -> Result<Self, Error> {
        let until = Instant::now() + options.timeout;
        let topic = queue.name.to_string();
        let what = format!("consume from queue {topic}");
        let hand = Arc::new(Hand::new(topic.clone(), usize::from(prefetch.max(1))));
        let member = Member::new(Arc::clone(&hand), options.timeout);
        let client = config(&options, &topic).create_with_context(member);
        let client: BaseConsumer<Member> = client.map_err(|error| error::of_call(&what, &error))?;
        let client = Arc::new(client);
        client.context().is(&client);
        client.subscribe(&[&topic]).map_err(|error| error::of_call(&what, &error))?;
        let member = Arc::downgrade(&client);
        let driver =
            Driver { client, hand: Arc::clone(&hand), ended: ended.clone(), options: Arc::clone(&options) };
        let running = threads.token();
        let thread = std::thread::Builder::new().name("kafka-consumer".to_owned());
        let started = thread.spawn(move || {
            driver.run();
            drop(running);
        });
        started.map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("{what}: a thread cannot be started: {error}"))
        })?;
        let consumer = Self { hand, member, options, _ended_with_us: ended.drop_guard() };
        while !consumer.hand.is_assigned()? {
            if timeout_at(until, consumer.hand.wake.notified()).await.is_err() {
                break;
            }
        }
        Ok(consumer)
    }

    /// Reads from their beginning partitions whose log is another one.
    async fn rewind(&self) -> Result<(), Error> {
        let member = self.member.upgrade().ok_or_else(error::closed)?;
        let (hand, within) = (Arc::clone(&self.hand), self.options.timeout);
        let rewound = blocking(move || hand.rewind(&member, within)).await?;
        let what = format!("read queue {} from its beginning", self.hand.topic);
        let rewound = rewound.map_err(|error| {
            let said = error::of_call(&what, &error);
            Error::new(ErrorKind::Unavailable, said.to_string())
        });
        rewound.inspect_err(|error| self.hand.fail(error.clone()))
    }

    /// Tells the cluster what is done, and what is handed out soon.
    async fn commit(&self, what: &str) -> Result<(), Error> {
        let what = format!("{what} messages of queue {}", self.hand.topic);
        let until = Instant::now() + self.options.timeout;
        let committed = timeout(self.options.timeout, async {
            loop {
                let member = self.member.upgrade().ok_or_else(error::closed)?;
                let hand = Arc::clone(&self.hand);
                let answer = blocking(move || hand.commit(&member)).await?;
                match answer {
                    Ok(()) => return Ok(()),
                    Err(error) if group::is_rebalance(&error) && Instant::now() + PAUSE < until => {
                        tokio::time::sleep(PAUSE).await;
                    }
                    Err(error) => {
                        let said = error::of_call(&what, &error);
                        let kind = if said.kind() == ErrorKind::Refused {
                            said.kind()
                        } else {
                            ErrorKind::Unavailable
                        };
                        return Err(Error::new(kind, said.to_string()));
                    }
                }
            }
        });
        let committed = committed.await.unwrap_or_else(|_| Err(error::late(&what, self.options.timeout)));
        committed.inspect_err(|error| self.hand.fail(error.clone()))
    }
}

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn next(&mut self, max: usize) -> Result<Vec<Received>, Error> {
        loop {
            match self.hand.next(max)? {
                Next::Batch(batch) => return Ok(batch),
                Next::ToNote => self.commit("note").await?,
                Next::ToRewind => self.rewind().await?,
                Next::Nothing => self.hand.wake.notified().await,
            }
        }
    }

    async fn ack(&mut self, tags: &[Tag]) -> Result<(), Error> {
        self.hand.settle(tags)?;
        self.commit("ack").await
    }

    async fn give_back(&mut self, tags: &[Tag]) -> Result<(), Error> {
        self.hand.give_back(tags)
    }
}

fn config(options: &Options, topic: &str) -> rdkafka::ClientConfig {
    let record_bytes = client::record_bytes_max(options);
    let ahead = options.ahead_bytes_max.max(1 << 20);
    let mut config = client::config(options);
    config
        .set("group.id", format!("{}.{topic}", options.prefix))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // What is in the topic before anybody consumed is for us, too.
        .set("auto.offset.reset", "earliest")
        // Who keeps a partition keeps what it holds of it.
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", options.session.as_millis().to_string())
        .set("heartbeat.interval.ms", options.heartbeat.as_millis().to_string())
        // So soon more partitions of a topic are noticed.
        .set("topic.metadata.refresh.interval.ms", "30000")
        .set("queued.max.messages.kbytes", (ahead >> 10).to_string())
        .set("queued.min.messages", "1000")
        // What was taken is soon replaced.
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.message.max.bytes", (1 << 20).to_string())
        .set("fetch.max.bytes", record_bytes.max(ahead).to_string())
        // More than that is no message that anybody meant.
        .set("receive.message.max.bytes", (2 * record_bytes.max(ahead)).max(100_000_000).to_string());
    config
}
