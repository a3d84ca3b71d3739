//! The broker itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use orderwire_broker::{
    Broker, Capabilities, Connection, Consumer, Declare, Durability, Error, ErrorKind, Message, Ordering,
    QueueBinding, Retention, in_time,
};
use orderwire_types::{Pattern, QueueName};
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::bindings;
use crate::consumer::KafkaConsumer;
use crate::link::{self, Link};
use crate::options::Options;
use crate::topics::Wanted;

/// Kafka.
pub struct KafkaBroker {
    options: Arc<Options>,
    connection: Connection<Link>,
    /// What the last declaration of each queue asked for.
    declared: Mutex<BTreeMap<QueueName, Vec<Pattern>>>,
    /// The threads of consumers.
    threads: TaskTracker,
    /// Cancelled when everything has to end; at the latest when the broker is dropped.
    closing: CancellationToken,
    _closed_with_us: DropGuard,
}

impl KafkaBroker {
    /// Begins to connect, in tasks of the tokio runtime that it is called in. Whether it
    /// is connected is said by [`Broker::check`], which waits for the first attempt.
    pub fn start(options: Options) -> Self {
        let options = Arc::new(options);
        let closing = CancellationToken::new();
        Self {
            connection: link::keep(&options, closing.clone()),
            declared: Mutex::default(),
            threads: TaskTracker::new(),
            _closed_with_us: closing.clone().drop_guard(),
            closing,
            options,
        }
    }

    /// What the last declaration of this process asked for and this one does not.
    fn dropped(&self, queue: &QueueBinding) -> Vec<Pattern> {
        let declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        let before = declared.get(&queue.name).into_iter().flatten();
        before.filter(|pattern| !queue.types.contains(pattern)).cloned().collect()
    }
}

#[async_trait]
impl Broker for KafkaBroker {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "Kafka",
            // Servers confirm what is in the memory of all replicas that are in sync, and
            // leave it to the operating system to write it.
            durability: Durability::Process,
            ordering: Ordering::Key,
            // Nothing is deleted because it was consumed.
            retention: Retention::Limited,
            body_bytes_max: self.options.body_bytes_max,
            reports_unroutable: true,
            // Publishers do, who hear of the bindings of others a moment later.
            routes_by_pattern: false,
        }
    }

    async fn declare(&self, queue: &QueueBinding) -> Result<(), Error> {
        let name = queue.name.as_str();
        if name == bindings::topic(&self.options) {
            let why = format!("declare queue {name}: its topic is the one of bindings");
            return Err(Error::new(ErrorKind::Unsupported, why));
        }
        let until = Instant::now() + self.options.timeout;
        let declaring = async {
            let link = self.connection.link().await?;
            let wanted = Wanted::queue(queue.declare, &self.options);
            link.topics.make(name, wanted, queue.declare == Declare::Adopt, until).await?;
            link.bindings.catch_up(until).await?;
            let bound = link.bindings.of(&queue.name);
            let new: Vec<Pattern> =
                queue.types.iter().filter(|pattern| !bound.contains(pattern)).cloned().collect();
            let gone: Vec<Pattern> =
                self.dropped(queue).into_iter().filter(|pattern| bound.contains(pattern)).collect();
            link.bindings.change(&link.publisher, &queue.name, &new, &gone, until).await?;
            let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
            declared.insert(queue.name.clone(), queue.types.clone());
            Ok(())
        };
        in_time(self.options.timeout, &format!("declare queue {name}"), declaring).await
    }

    async fn unbind(&self, queue: &QueueName, types: &[Pattern]) -> Result<(), Error> {
        let until = Instant::now() + self.options.timeout;
        let unbinding = async {
            let link = self.connection.link().await?;
            link.bindings.catch_up(until).await?;
            let bound = link.bindings.of(queue);
            let gone: Vec<Pattern> =
                types.iter().filter(|pattern| bound.contains(pattern)).cloned().collect();
            link.bindings.change(&link.publisher, queue, &[], &gone, until).await?;
            let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(declared) = declared.get_mut(queue) {
                declared.retain(|pattern| !types.contains(pattern));
            }
            Ok(())
        };
        in_time(self.options.timeout, &format!("unbind queue {queue}"), unbinding).await
    }

    async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), Error>> {
        let until = Instant::now() + self.options.timeout;
        match self.connection.link_for(messages.len(), until).await {
            Ok(link) => link.publisher.publish(messages, &link.bindings, &link.topics, until).await,
            Err(answers) => answers,
        }
    }

    async fn consume(&self, queue: &QueueBinding, prefetch: u16) -> Result<Box<dyn Consumer>, Error> {
        let (name, until) = (queue.name.as_str(), Instant::now() + self.options.timeout);
        let looking = async {
            let link = self.connection.link().await?;
            link.topics.find(name, until).await
        };
        let what = format!("consume from queue {name}");
        if in_time(self.options.timeout, &what, looking).await?.is_none() {
            let why = format!("{what}: there is no topic of this name");
            return Err(Error::new(ErrorKind::Conflict, why));
        }
        let (options, ended) = (Arc::clone(&self.options), self.closing.child_token());
        let consumer = KafkaConsumer::open(options, queue, prefetch, ended, &self.threads).await?;
        Ok(Box::new(consumer))
    }

    async fn check(&self) -> Result<(), Error> {
        self.connection.link().await.map(drop)
    }

    async fn close(&self) {
        self.closing.cancel();
        self.threads.close();
        let all = async { tokio::join!(self.connection.ended(), self.threads.wait()) };
        if timeout(self.options.timeout, all).await.is_err() {
            tracing::warn!("the broker's clients did not end in time");
        }
    }
}
