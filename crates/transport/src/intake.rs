//! From a queue of the broker to the queue here.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orderwire_broker::{Broker, Consumer, Error, ErrorKind, QueueBinding, Received, Tag};
use orderwire_queue::{Arrived, Queues};
use orderwire_types::QueueName;
use orderwire_worker::Pause;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::topology::Topology;

/// Makes events of messages. The port that an intake needs filled.
#[async_trait]
pub trait Reader: Send + Sync + 'static {
    /// What the message is to this queue: an event, or why it can never be one of its
    /// deliveries. `None`: the queue does not take its type, and it is passed over.
    fn read(&self, queue: &QueueName, message: &Received) -> Option<Arrived>;

    /// What has to be done about events that are durable now, before their messages are
    /// acked. Tried again until it works.
    ///
    /// # Errors
    /// Why it cannot be done now, in plain words.
    async fn took_in(&self, arrived: &[Arrived]) -> Result<(), String>;
}

/// How an [`Intake`] works.
#[derive(Clone, Debug)]
pub struct IntakeOptions {
    /// The most messages of one commit.
    pub batch: usize,
    /// The most bytes of one commit, its first message aside.
    pub batch_bytes: usize,
    /// What comes in within this time after a commit is taken in together: each commit
    /// costs the same, and so does each ack at the broker, whatever they carry. What comes
    /// later does not wait.
    pub gather: Duration,
    /// How many messages the broker hands over ahead. They are in memory: a broker bounds
    /// their number, and each by its own maximum.
    pub prefetch: u16,
    /// The pause after a failure.
    pub pause: Pause,
}

impl Default for IntakeOptions {
    fn default() -> Self {
        let pause = Pause { first: Duration::from_millis(100), last: Duration::from_secs(5) };
        let gather = Duration::from_millis(5);
        Self { batch: 256, batch_bytes: 4 << 20, gather, prefetch: 256, pause }
    }
}

/// Takes in what waits at the broker for one queue, for as long as it runs: declares the
/// queue there, consumes, and acks what is safe here. What fails is tried again for good,
/// with pauses; what can never be a delivery becomes a dead letter.
pub struct Intake {
    broker: Arc<dyn Broker>,
    topology: Arc<Topology>,
    binding: QueueBinding,
    queues: Queues,
    queue: QueueName,
    reader: Arc<dyn Reader>,
    options: IntakeOptions,
    stop: CancellationToken,
}

/// The intake has to stop.
struct Stopped;

impl Intake {
    /// An intake of the broker's queue `binding`, which is one of `topology`, into the queue
    /// `queue`.
    pub fn new(
        broker: Arc<dyn Broker>,
        topology: Arc<Topology>,
        binding: QueueBinding,
        queues: Queues,
        queue: QueueName,
        reader: Arc<dyn Reader>,
        options: IntakeOptions,
    ) -> Self {
        Self { broker, topology, binding, queues, queue, reader, options, stop: CancellationToken::new() }
    }

    /// Works until `shutdown` is ready. What is under way is finished within the time-outs
    /// of queue and broker; what was handed over and is not acked goes back to the broker.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let stop = self.stop.clone();
        let work = async {
            let _: Result<(), Stopped> = self.work().await;
        };
        tokio::pin!(work);
        tokio::select! {
            () = &mut work => return,
            () = shutdown => stop.cancel(),
        }
        work.await;
    }

    async fn work(&self) -> Result<(), Stopped> {
        let mut failures = 0;
        loop {
            match self.open().await {
                Ok(consumer) => {
                    failures = 0;
                    tracing::info!(queue.name = %self.queue, broker.queue = %self.binding.name, "takes in from the broker");
                    let error = self.consume(consumer).await?;
                    // Its queue may have been deleted.
                    self.topology.doubt();
                    tracing::warn!(queue.name = %self.queue, %error, "the broker's consumer ended, and is made anew");
                }
                Err(error) => {
                    let known = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unconfirmed);
                    if known {
                        tracing::warn!(queue.name = %self.queue, %error, "cannot take in from the broker, which is tried again");
                    } else {
                        tracing::error!(queue.name = %self.queue, %error, "cannot take in from the broker until that is mended");
                    }
                }
            }
            failures += 1;
            self.pause(failures).await?;
        }
    }

    async fn open(&self) -> Result<Box<dyn Consumer>, Error> {
        self.broker.declare(&self.binding).await?;
        self.broker.consume(&self.binding, self.options.prefetch).await
    }

    /// Takes in until the consumer fails; with what.
    async fn consume(&self, mut consumer: Box<dyn Consumer>) -> Result<Error, Stopped> {
        let mut gathered = Instant::now();
        loop {
            let next = async {
                tokio::time::sleep_until(gathered).await;
                consumer.next(self.options.batch).await
            };
            let messages = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Stopped),
                messages = next => messages,
            };
            let messages = match messages {
                Ok(messages) => messages,
                Err(error) => return Ok(error),
            };
            let mut rest = messages.as_slice();
            while !rest.is_empty() {
                let (batch, behind) = rest.split_at(self.one_commit(rest));
                self.take_in(batch).await?;
                let tags: Vec<Tag> = batch.iter().map(|message| message.tag).collect();
                if let Err(error) = consumer.ack(&tags).await {
                    return Ok(error);
                }
                rest = behind;
            }
            gathered = Instant::now() + self.options.gather;
        }
    }

    /// How many of these messages one commit takes.
    fn one_commit(&self, messages: &[Received]) -> usize {
        let mut bytes = 0;
        let fits = |message: &&Received| {
            bytes += message.body.len();
            bytes <= self.options.batch_bytes
        };
        messages.iter().take_while(fits).count().max(1)
    }

    /// Makes messages durable as deliveries, or as dead letters.
    async fn take_in(&self, messages: &[Received]) -> Result<(), Stopped> {
        let arrived: Vec<Arrived> =
            messages.iter().filter_map(|message| self.reader.read(&self.queue, message)).collect();
        self.count("passed", (messages.len() - arrived.len()) as u64);
        if arrived.is_empty() {
            return Ok(());
        }
        let mut failures = 0;
        let new = loop {
            match self.queues.arrive(&self.queue, &arrived).await {
                Ok(new) => break new,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(queue.name = %self.queue, failures, %error, "messages of the broker wait for the queue");
                    self.pause(failures).await?;
                }
            }
        };
        let mut failures = 0;
        while let Err(error) = self.reader.took_in(&arrived).await {
            failures += 1;
            tracing::warn!(queue.name = %self.queue, failures, error, "messages of the broker wait to be told of");
            self.pause(failures).await?;
        }
        let mut counts = [("taken", 0), ("rejected", 0), ("repeated", 0)];
        for (arrived, new) in arrived.iter().zip(new) {
            let at = if !new { 2 } else { usize::from(arrived.rejected.is_some()) };
            counts[at].1 += 1;
        }
        for (outcome, count) in counts {
            self.count(outcome, count);
        }
        Ok(())
    }

    async fn pause(&self, failures: u32) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Stopped),
            () = tokio::time::sleep(self.options.pause.after(failures)) => Ok(()),
        }
    }

    fn count(&self, outcome: &'static str, count: u64) {
        if count > 0 {
            let queue = self.queue.to_string();
            metrics::counter!("orderwire_intake_messages_total", "queue" => queue, "outcome" => outcome)
                .increment(count);
        }
    }
}
