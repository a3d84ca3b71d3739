//! From a queue of the broker to where its messages are durable here.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orderwire_broker::{Broker, Consumer, Error, ErrorKind, QueueBinding, Received, Tag};
use orderwire_queue::{Arrived, Queues};
use orderwire_types::envelope::Incoming;
use orderwire_types::{QueueName, Scope};
use orderwire_worker::{DirectWorker, Handled, Pause};
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

/// Where an intake leaves what it takes in.
pub enum Destination {
    /// In the queue.
    Queue,
    /// With its effect, without a stop in the queue: the events of a stream, by the worker
    /// that reads it alone. While the stream is paused, nothing is taken in.
    Worker(DirectWorker),
}

/// Takes in what waits at the broker for one queue, for as long as it runs: declares the
/// queue there, consumes, and acks what is safe here. What fails is tried again for good,
/// with pauses; what can never be a delivery, or never have its effect, becomes a dead letter.
pub struct Intake {
    broker: Arc<dyn Broker>,
    topology: Arc<Topology>,
    binding: QueueBinding,
    queues: Queues,
    queue: QueueName,
    destination: Destination,
    reader: Arc<dyn Reader>,
    options: IntakeOptions,
    stop: CancellationToken,
}

/// The intake has to stop.
struct Stopped;

/// Why a consumer is of no use any more.
enum Ended {
    Failed(Error),
    Paused,
}

/// What became of a message that the queue takes.
#[derive(Clone, Copy)]
enum Outcome {
    Taken,
    Rejected,
    Repeated,
}

impl Intake {
    /// An intake of the broker's queue `binding`, which is one of `topology`, for the queue
    /// `queue`.
    #[expect(clippy::too_many_arguments, reason = "each is named where it is given")]
    pub fn new(
        broker: Arc<dyn Broker>,
        topology: Arc<Topology>,
        binding: QueueBinding,
        queues: Queues,
        queue: QueueName,
        destination: Destination,
        reader: Arc<dyn Reader>,
        options: IntakeOptions,
    ) -> Self {
        let stop = CancellationToken::new();
        Self { broker, topology, binding, queues, queue, destination, reader, options, stop }
    }

    /// Works until `shutdown` is ready. What is under way is finished within the time-outs
    /// of queue, worker and broker; what was handed over and is not acked goes back to the broker.
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
        self.queue_goes_first().await?;
        let mut failures = 0;
        loop {
            self.until_paused(false).await?;
            match self.open().await {
                Ok(consumer) => {
                    failures = 0;
                    tracing::info!(queue.name = %self.queue, broker.queue = %self.binding.name, "takes in from the broker");
                    match self.consume(consumer).await? {
                        Ended::Failed(error) => {
                            // Its queue may have been deleted.
                            self.topology.doubt();
                            tracing::warn!(queue.name = %self.queue, %error, "the broker's consumer ended, and is made anew");
                        }
                        Ended::Paused => {
                            tracing::info!(queue.name = %self.queue, "is paused, and takes in nothing from the broker");
                            continue;
                        }
                    }
                }
                Err(error) => {
                    let known = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unconfirmed);
                    if known {
                        tracing::warn!(queue.name = %self.queue, %error, "cannot take in from the broker, which is tried again");
                    } else {
                        // What is published now would miss it.
                        self.topology.doubt();
                        tracing::error!(queue.name = %self.queue, %error, "cannot take in from the broker until that is mended");
                    }
                }
            }
            failures += 1;
            self.pause(failures).await?;
        }
    }

    /// What waits in the queue came before: in arrival order it goes before all that waits at
    /// the broker. It is looked at once, because what comes there later was put aside.
    async fn queue_goes_first(&self) -> Result<(), Stopped> {
        let Destination::Worker(_) = self.destination else { return Ok(()) };
        let mut looks = 0;
        loop {
            match self.queues.state(&Scope::internal("intake"), &self.queue).await {
                Ok(state) if state.ready + state.in_flight + state.delayed == 0 => return Ok(()),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(queue.name = %self.queue, %error, "cannot see what waits before the broker's messages");
                }
            }
            looks += 1;
            self.pause(looks).await?;
        }
    }

    /// Returns when the queue is paused, or is not, where that matters to the broker.
    async fn until_paused(&self, paused: bool) -> Result<(), Stopped> {
        let known = async {
            match (&self.destination, paused) {
                (Destination::Queue, false) => {}
                (Destination::Queue, true) => std::future::pending().await,
                (Destination::Worker(_), _) => {
                    if let Err(error) = self.queues.until_paused(&self.queue, paused).await {
                        tracing::error!(queue.name = %self.queue, %error, "is not known");
                        std::future::pending::<()>().await;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Stopped),
            () = known => Ok(()),
        }
    }

    async fn open(&self) -> Result<Box<dyn Consumer>, Error> {
        self.broker.declare(&self.binding).await?;
        self.broker.consume(&self.binding, self.options.prefetch).await
    }

    /// Takes in until the consumer is of no use any more.
    async fn consume(&self, mut consumer: Box<dyn Consumer>) -> Result<Ended, Stopped> {
        let mut gathered = Instant::now();
        loop {
            let next = async {
                tokio::time::sleep_until(gathered).await;
                consumer.next(self.options.batch).await
            };
            let messages = tokio::select! {
                biased;
                paused = self.until_paused(true) => return paused.map(|()| Ended::Paused),
                messages = next => messages,
            };
            let messages = match messages {
                Ok(messages) => messages,
                Err(error) => return Ok(Ended::Failed(error)),
            };
            let mut rest = messages.as_slice();
            while !rest.is_empty() {
                let (batch, behind) = rest.split_at(self.one_commit(rest));
                if let ControlFlow::Break(ended) = self.take_in(batch).await? {
                    return Ok(ended);
                }
                let tags: Vec<Tag> = batch.iter().map(|message| message.tag).collect();
                if let Err(error) = consumer.ack(&tags).await {
                    return Ok(Ended::Failed(error));
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

    /// Makes messages durable, as deliveries or with their effect, or as dead letters.
    async fn take_in(&self, messages: &[Received]) -> Result<ControlFlow<Ended>, Stopped> {
        let arrived: Vec<Arrived> =
            messages.iter().filter_map(|message| self.reader.read(&self.queue, message)).collect();
        self.count("passed", (messages.len() - arrived.len()) as u64);
        if arrived.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let outcomes = match &self.destination {
            Destination::Queue => self.queue_up(&arrived).await?,
            Destination::Worker(worker) => match self.have_handled(worker, &arrived).await? {
                Some(outcomes) => outcomes,
                None => return Ok(ControlFlow::Break(Ended::Paused)),
            },
        };
        let mut failures = 0;
        while let Err(error) = self.reader.took_in(&arrived).await {
            failures += 1;
            tracing::warn!(queue.name = %self.queue, failures, error, "messages of the broker wait to be told of");
            self.pause(failures).await?;
        }
        let mut counts = [("taken", 0), ("rejected", 0), ("repeated", 0)];
        for outcome in outcomes {
            counts[outcome as usize].1 += 1;
        }
        for (outcome, count) in counts {
            self.count(outcome, count);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Puts messages into the queue, or among its dead letters.
    async fn queue_up(&self, arrived: &[Arrived]) -> Result<Vec<Outcome>, Stopped> {
        let mut failures = 0;
        let new = loop {
            match self.queues.arrive(&self.queue, arrived).await {
                Ok(new) => break new,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(queue.name = %self.queue, failures, %error, "messages of the broker wait for the queue");
                    self.pause(failures).await?;
                }
            }
        };
        let outcome = |(arrived, new): (&Arrived, bool)| match (new, &arrived.rejected) {
            (false, _) => Outcome::Repeated,
            (true, Some(_)) => Outcome::Rejected,
            (true, None) => Outcome::Taken,
        };
        Ok(arrived.iter().zip(new).map(outcome).collect())
    }

    /// Has messages handled; those that can never be are among the dead letters then. None: the
    /// queue was paused before they had their effect, as far as is known, and they go back.
    async fn have_handled(
        &self,
        worker: &DirectWorker,
        arrived: &[Arrived],
    ) -> Result<Option<Vec<Outcome>>, Stopped> {
        let usable: Vec<&Incoming> =
            arrived.iter().filter(|each| each.rejected.is_none()).map(|each| &each.incoming).collect();
        let stop = self.stop.child_token();
        let mut handling = pin!(worker.handle(&usable, &stop));
        let handled = tokio::select! {
            biased;
            handled = &mut handling => handled,
            paused = self.until_paused(true) => {
                paused?;
                // What is under way ends; nothing is tried again.
                stop.cancel();
                handling.await
            }
        };
        let mut handled = match handled {
            Ok(handled) => handled.into_iter(),
            Err(_) if self.stop.is_cancelled() => return Err(Stopped),
            Err(_) => return Ok(None),
        };
        let verdict = |each: &Arrived| match &each.rejected {
            Some(cause) => Handled::Faulty(cause.clone()),
            None => handled.next().expect("one for each that is usable"),
        };
        let verdicts: Vec<Handled> = arrived.iter().map(verdict).collect();
        let letter = |(each, verdict): (&Arrived, &Handled)| match verdict {
            Handled::Faulty(cause) => {
                Some(Arrived { incoming: each.incoming.clone(), rejected: Some(cause.clone()) })
            }
            Handled::New | Handled::Repeated => None,
        };
        let letters: Vec<Arrived> = arrived.iter().zip(&verdicts).filter_map(letter).collect();
        let letters = if letters.is_empty() { Vec::new() } else { self.queue_up(&letters).await? };
        let mut letters = letters.into_iter();
        let outcome = |verdict: &Handled| match verdict {
            Handled::New => Outcome::Taken,
            Handled::Repeated => Outcome::Repeated,
            Handled::Faulty(_) => letters.next().expect("one for each that is faulty"),
        };
        Ok(Some(verdicts.iter().map(outcome).collect()))
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
