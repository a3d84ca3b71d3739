//! Publishes with confirms: an idempotent producer, whose messages of one key go to one
//! partition, in order, and are on all replicas that are in sync before they count.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orderwire_broker::{Error, ErrorKind, HEADER_BYTES_MAX, Message, To};
use orderwire_types::QueueName;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::bindings::Bindings;
use crate::client::{self, Watch};
use crate::error;
use crate::options::Options;
use crate::topics::{Topics, blocking};

/// What a message counts at least, so that small ones are bounded in number as well.
const COST_MIN: usize = 4 << 10;

/// The client that publishes.
pub(crate) struct Publisher {
    producer: ThreadedProducer<Told>,
    room: Arc<Semaphore>,
    /// Topics that were there once: the library looks for others for too long.
    known: Mutex<HashSet<String>>,
    watch: Watch,
    options: Arc<Options>,
}

/// Tells what became of each message.
struct Told(Watch);

impl ClientContext for Told {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}

/// Who waits for a confirm, with the share of the room that is free after it.
struct Answer {
    tell: oneshot::Sender<Result<i64, KafkaError>>,
    _share: OwnedSemaphorePermit,
}

impl ProducerContext for Told {
    type DeliveryOpaque = Box<Answer>;

    fn delivery(&self, result: &DeliveryResult<'_>, answer: Box<Answer>) {
        let told = match result {
            Ok(record) => Ok(record.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        // Who does not wait any more does not need to know.
        answer.tell.send(told).ok();
    }
}

/// A record on its way.
type Sent = oneshot::Receiver<Result<i64, KafkaError>>;

/// A message on its way to each of its topics.
struct Job {
    id: String,
    sent: Vec<(String, Sent)>,
    /// Why it did not get on its way, or not to all.
    failed: Option<Error>,
}

impl Publisher {
    /// # Errors
    /// What is wrong with the options.
    pub(crate) fn new(options: &Arc<Options>, watch: Watch) -> Result<Self, KafkaError> {
        let mut config = client::config(options);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", options.timeout.as_millis().to_string())
            // As clients in Java do it, so that a key means one partition to all producers.
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "1")
            .set(
                "queue.buffering.max.kbytes",
                (options.unconfirmed_bytes_max / 1_024 * 2).max(1 << 10).to_string(),
            );
        Ok(Self {
            producer: config.create_with_context(Told(watch.clone()))?,
            room: Arc::new(Semaphore::new(options.unconfirmed_bytes_max)),
            known: Mutex::default(),
            watch,
            options: Arc::clone(options),
        })
    }

    /// Whether it is of use still. The library gives one up when it cannot promise any more
    /// that nothing comes twice.
    pub(crate) fn is_fit(&self) -> bool {
        self.producer.client().fatal_error().is_none()
    }

    /// Publishes in order; one answer each, until `until`. What is behind a message that
    /// could not be sent is not sent either.
    pub(crate) async fn publish(
        &self,
        messages: Vec<Message>,
        bindings: &Bindings,
        topics: &Topics<Watch>,
        until: Instant,
    ) -> Vec<Result<(), Error>> {
        let mut jobs: Vec<Job> = Vec::with_capacity(messages.len());
        let mut stuck: Option<Error> = None;
        let mut is_fresh = false;
        for message in messages {
            let mut job = Job { id: message.id.clone(), sent: Vec::new(), failed: stuck.clone() };
            if stuck.is_none() {
                let begun = self.begin(&message, &mut job, bindings, topics, &mut is_fresh, until).await;
                if let Err(error) = begun {
                    stuck = error.is_retryable().then(|| error.clone());
                    job.failed = Some(error);
                }
            }
            jobs.push(job);
        }
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            answers.push(self.answer(job, until).await);
        }
        answers
    }

    /// Gives a message to the library, once for each of its topics.
    async fn begin(
        &self,
        message: &Message,
        job: &mut Job,
        bindings: &Bindings,
        topics: &Topics<Watch>,
        is_fresh: &mut bool,
        until: Instant,
    ) -> Result<(), Error> {
        self.fits(message)?;
        let mut missing = 0;
        let mut queues = targets(message, bindings);
        if queues.is_empty() && !*is_fresh {
            // Another server may have bound one just now.
            bindings.catch_up(until).await?;
            *is_fresh = true;
            queues = targets(message, bindings);
        }
        for queue in &queues {
            if self.is_there(queue, topics, until).await? {
                let sent = self.send(message, queue.as_str(), until).await?;
                job.sent.push((queue.to_string(), sent));
            } else {
                missing += 1;
            }
        }
        if missing == queues.len() {
            let id = &message.id;
            return Err(Error::new(
                ErrorKind::Unroutable,
                format!("publish message {id}: no queue takes it"),
            ));
        }
        Ok(())
    }

    /// What became of a message.
    async fn answer(&self, job: Job, until: Instant) -> Result<(), Error> {
        let Job { id, sent, failed } = job;
        let (mut confirmed, mut failure) = (0, failed);
        let mut lost: Option<Error> = None;
        for (topic, sent) in sent {
            let error = match timeout_at(until, sent).await {
                Ok(Ok(Ok(_))) => {
                    confirmed += 1;
                    continue;
                }
                Ok(Ok(Err(error))) => error::of_message(&id, &topic, &error),
                Ok(Err(_)) => unknown(&id, "the connection ended before it was confirmed"),
                Err(_) => unknown(&id, "it was not confirmed in time"),
            };
            match error.kind() {
                // The topic was deleted. The others count.
                ErrorKind::Unroutable => {
                    self.forget(&topic);
                    lost = Some(error);
                    continue;
                }
                ErrorKind::Unconfirmed => self.watch.suspect.notify_one(),
                _ => {}
            }
            failure.get_or_insert(error);
        }
        match (failure, lost) {
            (None, Some(lost)) if confirmed == 0 => Err(lost),
            (None, _) => Ok(()),
            // Some of it is there.
            (Some(error), _) if error.kind() == ErrorKind::Unavailable && confirmed > 0 => {
                Err(Error::new(ErrorKind::Unconfirmed, error.to_string()))
            }
            (Some(error), _) => Err(error),
        }
    }

    fn fits(&self, message: &Message) -> Result<(), Error> {
        let id = &message.id;
        let too_large = |what: &str, size: usize, most: usize| {
            let why = format!("publish message {id}: its {what} have {size} bytes, {most} are the most");
            Err(Error::new(ErrorKind::TooLarge, why))
        };
        let (body, headers) = (message.body.len(), message.header_bytes());
        if body > self.options.body_bytes_max {
            return too_large("contents", body, self.options.body_bytes_max);
        }
        if headers > HEADER_BYTES_MAX {
            return too_large("headers", headers, HEADER_BYTES_MAX);
        }
        Ok(())
    }

    async fn is_there(
        &self,
        queue: &QueueName,
        topics: &Topics<Watch>,
        until: Instant,
    ) -> Result<bool, Error> {
        let is_known = |known: &HashSet<String>| known.contains(queue.as_str());
        if is_known(&self.known()) {
            return Ok(true);
        }
        if topics.find(queue.as_str(), until).await?.is_none() {
            return Ok(false);
        }
        self.known().insert(queue.to_string());
        Ok(true)
    }

    fn forget(&self, topic: &str) {
        self.known().remove(topic);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, message: &Message, topic: &str, until: Instant) -> Result<Sent, Error> {
        let id = &message.id;
        let cost = message.body.len() + message.header_bytes();
        let (tell, sent) = oneshot::channel();
        let answer = self
            .answer_in_room(tell, cost, until)
            .await
            .map_err(|why| Error::new(ErrorKind::Unavailable, format!("publish message {id}: {why}")))?;
        let mut record: BaseRecord<'_, str, [u8], Box<Answer>> = BaseRecord::with_opaque_to(topic, answer);
        record.payload = Some(&message.body);
        record.key = message.key.as_deref();
        record.headers = Some(crate::wire::headers(message));
        match self.producer.send(record) {
            Ok(()) => Ok(sent),
            Err((error, _)) => {
                let error = error::of_message(id, topic, &error);
                // It never left us.
                let kind = if error.kind() == ErrorKind::Unconfirmed {
                    ErrorKind::Unavailable
                } else {
                    error.kind()
                };
                self.watch.suspect.notify_one();
                Err(Error::new(kind, error.to_string()))
            }
        }
    }

    async fn answer_in_room(
        &self,
        tell: oneshot::Sender<Result<i64, KafkaError>>,
        cost: usize,
        until: Instant,
    ) -> Result<Box<Answer>, &'static str> {
        let cost = cost.max(COST_MIN).min(self.options.unconfirmed_bytes_max);
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(cost);
        let Ok(share) = timeout_at(until, room).await else {
            return Err("too much is published and not confirmed yet");
        };
        Ok(Box::new(Answer { tell, _share: share.map_err(|_| "the connection ended")? }))
    }

    /// Writes a record that is no message; its offset.
    ///
    /// # Errors
    /// `Refused`, `Unavailable`.
    pub(crate) async fn note(
        &self,
        topic: &str,
        partition: i32,
        key: &str,
        value: Option<&str>,
        until: Instant,
    ) -> Result<i64, Error> {
        let what = || format!("write to topic {topic}");
        let unavailable = |why: &str| Error::new(ErrorKind::Unavailable, format!("{}: {why}", what()));
        let (tell, sent) = oneshot::channel();
        let answer = self.answer_in_room(tell, key.len(), until).await.map_err(unavailable)?;
        let mut record: BaseRecord<'_, str, str, Box<Answer>> = BaseRecord::with_opaque_to(topic, answer);
        record.partition = Some(partition);
        record.key = Some(key);
        record.payload = value;
        self.producer.send(record).map_err(|(error, _)| error::of_call(&what(), &error))?;
        match timeout_at(until, sent).await {
            Ok(Ok(told)) => told.map_err(|error| error::of_call(&what(), &error)),
            Ok(Err(_)) => Err(unavailable("the connection ended before it was confirmed")),
            Err(_) => Err(Error::late(&what(), self.options.timeout)),
        }
    }

    /// Waits for what is on its way, and ends.
    pub(crate) async fn flush(&self, within: Duration) {
        let producer = self.producer.clone();
        match blocking(move || producer.flush(within)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "messages were not confirmed before the end"),
            Err(error) => tracing::warn!(%error, "messages were not confirmed before the end"),
        }
    }
}

fn targets(message: &Message, bindings: &Bindings) -> Vec<QueueName> {
    match &message.to {
        To::Type(event_type) => bindings.takers(event_type),
        To::Queue(queue) => vec![queue.clone()],
    }
}

fn unknown(id: &str, why: &str) -> Error {
    Error::new(ErrorKind::Unconfirmed, format!("publish message {id}: {why}"))
}
