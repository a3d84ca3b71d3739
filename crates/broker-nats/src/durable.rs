//! Durable consumers at the server: how one is made, changed and removed.

use orderwire_broker::{Declare, Error, ErrorKind};
use orderwire_types::QueueName;
use serde_json::Map;

use crate::api::{self, Consumer, ConsumerConfig, Failure};
use crate::filter;
use crate::subject::{consumer, moving_consumer, named_consumer};
use crate::topology::{Topology, nanos, said_by};

/// How many messages all consumers of a queue may hold together. Each is bounded by its own
/// prefetch, which is the far smaller number.
const ACK_PENDING_MAX: i64 = 100_000;

/// A consumer that begins at a place of the stream.
const BY_PLACE: &str = "by_start_sequence";

/// What a consumer that others made says about its name and its beginning besides, which
/// does not hold for one that is made of it.
const OF_ANOTHER_PLACE: [&str; 2] = ["name", "opt_start_time"];

/// The end of messages that tell of other arguments.
const WHAT_TO_DO: &str = "remove it, or use it as it is with declare: adopt";

/// A queue that is worked at: what is said in errors, and its two consumers.
pub(crate) struct Queue<'a> {
    pub(crate) name: &'a QueueName,
    doing: &'static str,
    pub(crate) main: Option<Consumer>,
    pub(crate) named: Option<Consumer>,
    /// Whether what is sent to it by name waits at a consumer of its own.
    pub(crate) is_apart: bool,
    /// Where the stream ends.
    pub(crate) last: u64,
}

impl Topology {
    /// The consumers of a queue as they are, after the end of a change that was cut short.
    pub(crate) async fn find<'a>(
        &self,
        name: &'a QueueName,
        doing: &'static str,
    ) -> Result<Queue<'a>, Error> {
        let mut found = Queue { name, doing, main: None, named: None, is_apart: false, last: 0 };
        self.finish_moves(&found).await?;
        let stream = api::stream(&self.link, &self.names.stream).await;
        found.last = stream.map_err(|failure| found.error(failure))?.map_or(0, |s| s.state.last_seq);
        found.main = self.existing(&found, &consumer(name)).await?;
        found.named = self.existing(&found, &named_consumer(name)).await?;
        let by_name = self.names.by_name(name);
        let main_has_it =
            found.main.as_ref().is_some_and(|main| filter::covered(&by_name, &main.config.filters()));
        // What is sent by name stays where it is.
        found.is_apart = found.named.is_some() || !(self.link.has_filters() || main_has_it);
        Ok(found)
    }

    async fn existing(&self, queue: &Queue<'_>, name: &str) -> Result<Option<Consumer>, Error> {
        let there = api::consumer(&self.link, &self.names.stream, name).await;
        there.map_err(|failure| queue.error(failure))
    }

    /// A consumer as we make it, for messages behind this place of the stream.
    pub(crate) fn config(
        &self,
        name: &str,
        description: String,
        filters: Vec<String>,
        after: u64,
    ) -> ConsumerConfig {
        let mut config = ConsumerConfig {
            durable_name: name.to_owned(),
            description,
            // Said as a number, so that a server that comes back finds the same place.
            deliver_policy: BY_PLACE.to_owned(),
            opt_start_seq: Some(after + 1),
            ack_policy: "explicit".to_owned(),
            ack_wait: nanos(self.options.ack_wait),
            max_deliver: -1,
            max_ack_pending: ACK_PENDING_MAX,
            filter_subject: String::new(),
            filter_subjects: Vec::new(),
            deliver_subject: String::new(),
            others: Map::new(),
        };
        config.set_filters(filters);
        config
    }

    /// Makes a consumer exist with this description and these filters.
    pub(crate) async fn ensure(
        &self,
        queue: &Queue<'_>,
        declare: Declare,
        name: &str,
        there: Option<Consumer>,
        description: String,
        mut filters: Vec<String>,
    ) -> Result<(), Error> {
        filters.sort();
        let Some(there) = there else {
            let after = self.memory.start(name, queue.last);
            let made = self.set(queue, &self.config(name, description, filters, after)).await?;
            self.memory.made(name, made.done());
            return Ok(());
        };
        usable(queue.name, &there)?;
        let mut is = there.config.filters();
        is.sort();
        let is_ours = said_by(&there).is_some();
        if !is_ours && declare != Declare::Adopt {
            return compare(queue, &there, &is, &filters);
        }
        let mut changed = there.config.clone();
        changed.set_filters(filters.clone());
        changed.description = description;
        if is_ours {
            changed.ack_wait = nanos(self.options.ack_wait);
            changed.max_ack_pending = ACK_PENDING_MAX;
        }
        if is != filters && !self.link.has_filters() {
            // A server before 2.10 takes another filter, and then delivers by the old one or
            // not at all.
            self.move_to(queue, &there, changed).await?;
        } else if changed != there.config {
            self.set(queue, &changed).await?;
        }
        self.memory.made(name, there.done());
        Ok(())
    }

    /// Makes a consumer anew with other filters. Meanwhile another one stands in for it, so
    /// that nothing is swept away that waits for it. It begins at the first message that is
    /// not acked: what was acked behind that may come again.
    async fn move_to(
        &self,
        queue: &Queue<'_>,
        there: &Consumer,
        mut changed: ConsumerConfig,
    ) -> Result<(), Error> {
        changed.deliver_policy = BY_PLACE.to_owned();
        changed.opt_start_seq = Some(there.done() + 1);
        changed.others.retain(|name, _| !OF_ANOTHER_PLACE.contains(&name.as_str()));
        let moving =
            ConsumerConfig { durable_name: moving_consumer(&changed.durable_name), ..changed.clone() };
        self.set(queue, &moving).await?;
        self.delete(queue, &changed.durable_name).await?;
        self.set(queue, &changed).await?;
        self.delete(queue, &moving.durable_name).await
    }

    /// Ends moves that were cut short.
    async fn finish_moves(&self, queue: &Queue<'_>) -> Result<(), Error> {
        for name in [consumer(queue.name), named_consumer(queue.name)] {
            let moving_name = moving_consumer(&name);
            let Some(moving) = self.existing(queue, &moving_name).await? else { continue };
            if self.existing(queue, &name).await?.is_none() {
                self.set(queue, &ConsumerConfig { durable_name: name, ..moving.config }).await?;
            }
            self.delete(queue, &moving_name).await?;
        }
        Ok(())
    }

    /// Has a queue go on in order after a connection that ended: what was on its way to us
    /// then, the server would hand out again only after its time, behind what is new. So
    /// consumers with such messages begin anew at the first of them.
    pub(crate) async fn go_on(&self, queue: &QueueName) -> Result<(), Error> {
        if !self.memory.is_interrupted(queue) {
            return Ok(());
        }
        let _one_at_a_time = self.one_at_a_time.lock().await;
        let found = self.find(queue, "consume").await?;
        for there in [&found.main, &found.named].into_iter().flatten() {
            if there.num_ack_pending > 0 && said_by(there).is_some() {
                self.memory.begins_anew(&there.config.durable_name, there.delivered.stream_seq);
                self.move_to(&found, there, there.config.clone()).await?;
            }
        }
        self.memory.goes_on(queue);
        Ok(())
    }

    pub(crate) async fn set(&self, queue: &Queue<'_>, config: &ConsumerConfig) -> Result<Consumer, Error> {
        let set = api::set_consumer(&self.link, &self.names.stream, config).await;
        set.map_err(|failure| queue.error(failure))
    }

    async fn delete(&self, queue: &Queue<'_>, name: &str) -> Result<(), Error> {
        let deleted = api::delete_consumer(&self.link, &self.names.stream, name).await;
        deleted.map_err(|failure| queue.error(failure))
    }

    /// Deletes a consumer that has nothing to do any more.
    pub(crate) async fn remove(&self, queue: &Queue<'_>, name: &str) -> Result<(), Error> {
        self.memory.removed(name);
        self.delete(queue, name).await
    }
}

impl Queue<'_> {
    pub(crate) fn doing(&self) -> String {
        format!("{} queue {}", self.doing, self.name)
    }

    pub(crate) fn error(&self, failure: Failure) -> Error {
        failure.error(&self.doing(), ErrorKind::Conflict)
    }
}

/// What others made is a fault unless it is what we would have made.
fn compare(queue: &Queue<'_>, there: &Consumer, is: &[String], filters: &[String]) -> Result<(), Error> {
    let max_deliver = there.config.max_deliver;
    let what = if max_deliver > 0 {
        format!("max_deliver {max_deliver}, not -1")
    } else if is != filters {
        format!("the filters {}, not {}", is.join(" "), filters.join(" "))
    } else {
        return Ok(());
    };
    let (doing, name) = (queue.doing(), &there.config.durable_name);
    let what = format!("{doing}: the consumer {name} exists with {what}: {WHAT_TO_DO}");
    Err(Error::new(ErrorKind::Conflict, what))
}

/// Fails if messages cannot be pulled from it and acked one by one.
pub(crate) fn usable(queue: &QueueName, consumer: &Consumer) -> Result<(), Error> {
    let config = &consumer.config;
    let what = if !config.deliver_subject.is_empty() {
        "it pushes its messages to a subject"
    } else if config.ack_policy != "explicit" {
        "its messages are not acked one by one (ack_policy is not explicit)"
    } else if config.durable_name.is_empty() {
        "it is not durable"
    } else {
        return Ok(());
    };
    let what = format!("consume queue {queue}: a consumer of this name exists and {what}: remove it");
    Err(Error::new(ErrorKind::Conflict, what))
}
