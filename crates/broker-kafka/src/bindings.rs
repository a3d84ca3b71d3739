//! Which types each queue is bound to.
//!
//! Kafka does not route, so publishers do: each reads all bindings, from a topic of one
//! partition that keeps the last word about each pair of queue and pattern, and follows
//! it. So all servers of an installation know the same, also after a restart.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use orderwire_broker::{Error, ErrorKind};
use orderwire_types::{EventType, Pattern, QueueName};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::client::{self, Watch};
use crate::error;
use crate::options::Options;
use crate::publisher::Publisher;
use crate::topics::blocking;

/// How often the thread that follows the topic looks whether it has to end.
const LOOK: Duration = Duration::from_millis(100);
/// What the value of a binding is; a record without a value takes it away.
const BOUND: &str = "bound";

/// The one partition.
pub(crate) const PARTITION: i32 = 0;

/// All bindings, as far as they were read.
pub(crate) struct Bindings {
    topic: String,
    table: Arc<RwLock<Table>>,
    reached: watch::Receiver<Reached>,
    /// How often somebody asked whether that is the end.
    asked: Arc<AtomicU64>,
    client: Arc<BaseConsumer<Watch>>,
    options: Arc<Options>,
}

type Table = BTreeMap<QueueName, Vec<Pattern>>;

/// Up to where they were read.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    /// Behind the last record.
    offset: i64,
    /// Those who asked so far got to the end: what is last in the topic need not be a record, but
    /// may be one that was compacted, or the marker of a transaction.
    answered: u64,
}

impl ConsumerContext for Watch {}

/// The name of the topic.
pub(crate) fn topic(options: &Options) -> String {
    format!("{}.bindings", options.prefix)
}

/// A client that can read the topic.
///
/// # Errors
/// What is wrong with the options.
pub(crate) fn client(options: &Options, watch: Watch) -> Result<BaseConsumer<Watch>, KafkaError> {
    let mut config = client::config(options);
    // Nothing is committed: the group is a formality of the library.
    config
        .set("group.id", topic(options))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest");
    config.create_with_context(watch)
}

impl Bindings {
    /// Begins to follow the topic, which is there, until `ended` is cancelled.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) fn follow(
        client: Arc<BaseConsumer<Watch>>,
        options: Arc<Options>,
        ended: CancellationToken,
    ) -> Result<Self, Error> {
        let topic = topic(&options);
        let mut all = TopicPartitionList::new();
        let assigned = all.add_partition_offset(&topic, PARTITION, Offset::Beginning);
        let assigned = assigned.and_then(|()| client.assign(&all));
        assigned.map_err(|error| error::of_call("read the bindings", &error))?;
        let table = Arc::new(RwLock::new(Table::new()));
        let (reach, reached) = watch::channel(Reached::default());
        let asked = Arc::new(AtomicU64::new(0));
        let follower = Follower {
            topic: topic.clone(),
            client: Arc::clone(&client),
            table: Arc::clone(&table),
            reach,
            asked: Arc::clone(&asked),
            ended,
        };
        let thread = std::thread::Builder::new().name("kafka-bindings".to_owned());
        let started = thread.spawn(move || follower.run());
        started.map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("a thread cannot be started: {error}"))
        })?;
        Ok(Self { topic, table, reached, asked, client, options })
    }

    /// Waits until everything is read that was there when this was called.
    ///
    /// # Errors
    /// `Refused`, `Unavailable`.
    pub(crate) async fn catch_up(&self, until: Instant) -> Result<(), Error> {
        let (client, topic) = (Arc::clone(&self.client), self.topic.clone());
        let left = until.saturating_duration_since(Instant::now());
        let marks = blocking(move || client.fetch_watermarks(&topic, PARTITION, left)).await?;
        let (first, end) = marks.map_err(|error| error::of_call("read the bindings", &error))?;
        if first == end || self.reached.borrow().offset >= end {
            return Ok(());
        }
        let own = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.reach(|reached| reached.offset >= end || reached.answered >= own, until).await
    }

    async fn reach(&self, is_there: impl Fn(&Reached) -> bool + Send, until: Instant) -> Result<(), Error> {
        let mut reached = self.reached.clone();
        match timeout_at(until, reached.wait_for(is_there)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(error::closed()),
            Err(_) => Err(error::late("read the bindings", self.options.timeout)),
        }
    }

    /// The queues that take a type.
    pub(crate) fn takers(&self, event_type: &EventType) -> Vec<QueueName> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let taken = table.iter().filter(|(_, types)| types.iter().any(|pattern| pattern.matches(event_type)));
        taken.map(|(queue, _)| queue.clone()).collect()
    }

    /// What a queue is bound to.
    pub(crate) fn of(&self, queue: &QueueName) -> Vec<Pattern> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(queue).cloned().unwrap_or_default()
    }

    /// Binds a queue to these types and takes those away, for everybody.
    ///
    /// # Errors
    /// `Refused`, `Unavailable`.
    pub(crate) async fn change(
        &self,
        publisher: &Publisher,
        queue: &QueueName,
        add: &[Pattern],
        remove: &[Pattern],
        until: Instant,
    ) -> Result<(), Error> {
        let mut end = None;
        let added = add.iter().map(|pattern| (pattern, Some(BOUND)));
        let removed = remove.iter().map(|pattern| (pattern, None));
        for (pattern, value) in added.chain(removed) {
            let key = format!("{queue} {}", pattern.as_str());
            end = Some(publisher.note(&self.topic, PARTITION, &key, value, until).await? + 1);
        }
        match end {
            Some(end) => self.reach(|reached| reached.offset >= end, until).await,
            None => Ok(()),
        }
    }
}

/// The thread that follows the topic.
struct Follower {
    topic: String,
    client: Arc<BaseConsumer<Watch>>,
    table: Arc<RwLock<Table>>,
    reach: watch::Sender<Reached>,
    asked: Arc<AtomicU64>,
    ended: CancellationToken,
}

impl Follower {
    fn run(self) {
        let mut looked = 0;
        while !self.ended.is_cancelled() {
            let asked = self.asked.load(Ordering::SeqCst);
            if asked > looked {
                match self.look_anew() {
                    Ok(()) => looked = asked,
                    Err(error) => tracing::debug!(%error, "the end of the bindings is looked for again"),
                }
            }
            match self.client.poll(LOOK) {
                None => {}
                Some(Ok(record)) => {
                    self.apply(&record);
                    self.reach.send_modify(|reached| reached.offset = record.offset() + 1);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.reach.send_modify(|reached| reached.answered = looked);
                }
                Some(Err(error)) => {
                    let reason = error.to_string();
                    ClientContext::error(&**self.client.context(), error, &reason);
                }
            }
        }
    }

    /// Fetches again from where we are: an end that is told from now on is one of a fetch that began
    /// after this.
    fn look_anew(&self) -> Result<(), KafkaError> {
        let offset = self.reach.borrow().offset;
        let place = if offset == 0 { Offset::Beginning } else { Offset::Offset(offset) };
        self.client.seek(&self.topic, PARTITION, place, LOOK)
    }

    fn apply(&self, record: &BorrowedMessage<'_>) {
        let key =
            record.key().and_then(|key| std::str::from_utf8(key).ok()).and_then(|key| key.split_once(' '));
        let names = key.and_then(|(queue, pattern)| Some((queue.parse().ok()?, pattern.parse().ok()?)));
        let Some((queue, pattern)): Option<(QueueName, Pattern)> = names else {
            tracing::warn!(
                offset = record.offset(),
                topic = record.topic(),
                "a record that is no binding is passed over"
            );
            return;
        };
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let types = table.entry(queue.clone()).or_default();
        types.retain(|other| *other != pattern);
        if record.payload().is_some() {
            types.push(pattern);
        } else if types.is_empty() {
            table.remove(&queue);
        }
    }
}
