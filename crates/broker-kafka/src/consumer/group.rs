//! A member of a consumer group: the client of a consumer, and the thread that drives it.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use orderwire_broker::{Error, ErrorKind};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use tokio_util::sync::CancellationToken;

use super::hand::Hand;
use crate::client;
use crate::error;
use crate::ledger::Ledger;
use crate::options::Options;

/// How often the thread looks whether it has to end.
const LOOK: Duration = Duration::from_millis(100);

/// What the client tells of the group.
pub(crate) struct Member {
    hand: Arc<Hand>,
    timeout: Duration,
    client: OnceLock<Weak<BaseConsumer<Member>>>,
}

impl Member {
    pub(crate) fn new(hand: Arc<Hand>, timeout: Duration) -> Self {
        Self { hand, timeout, client: OnceLock::new() }
    }

    /// This is its client.
    pub(crate) fn is(&self, client: &Arc<BaseConsumer<Self>>) {
        self.client.get_or_init(|| Arc::downgrade(client));
    }

    /// Partitions come to us. Their queues are split off before anything is fetched, so that
    /// nothing comes by another way.
    fn gain(&self, client: &BaseConsumer<Self>, given: &TopicPartitionList) -> Result<(), Error> {
        let what = format!("consume from queue {}", self.hand.topic);
        let kept = client.committed_offsets(given.clone(), self.timeout);
        let kept = kept.map_err(|error| error::of_call(&what, &error))?;
        let gone = || Error::new(ErrorKind::Unavailable, format!("{what}: its client has ended"));
        let client = self.client.get().and_then(Weak::upgrade).ok_or_else(gone)?;
        for entry in kept.elements() {
            entry.error().map_err(|error| error::of_call(&what, &error))?;
            let (topic, partition) = (entry.topic(), entry.partition());
            let ledger = self.ledger(&client, &entry).map_err(|error| error::of_call(&what, &error))?;
            let begin = ledger.begin().map_or(Offset::Beginning, Offset::Offset);
            let mut place = given.find_partition(topic, partition).ok_or_else(gone)?;
            place.set_offset(begin).map_err(|error| error::of_call(&what, &error))?;
            let queue = client.split_partition_queue(topic, partition).ok_or_else(gone)?;
            self.hand.gain(partition, ledger, queue);
        }
        Ok(())
    }

    /// What is known of a partition. Nothing where its log is shorter than what was done of it: it lost
    /// its end, or was made anew, and may be filled again before anything is fetched.
    fn ledger(
        &self,
        client: &BaseConsumer<Self>,
        kept: &TopicPartitionListElem<'_>,
    ) -> Result<Ledger, KafkaError> {
        let Offset::Offset(offset) = kept.offset() else { return Ok(Ledger::default()) };
        let (_, end) = client.fetch_watermarks(kept.topic(), kept.partition(), self.timeout)?;
        if offset <= end {
            return Ok(Ledger::restore(Some((offset, kept.metadata()))));
        }
        tracing::warn!(
            broker.queue = self.hand.topic,
            partition = kept.partition(),
            end,
            done = offset,
            "a partition is shorter than what was done of it, and is read from its beginning"
        );
        Ok(Ledger::default())
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, client: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(given) => {
                if let Err(error) = self.gain(client, given) {
                    self.hand.fail(error);
                }
            }
            Rebalance::Revoke(taken) => {
                let partitions: Vec<i32> =
                    taken.elements().iter().map(TopicPartitionListElem::partition).collect();
                self.hand.lose(&partitions, client);
            }
            Rebalance::Error(_) => {}
        }
    }

    fn post_rebalance(&self, _client: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(_) => self.hand.assigned(),
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => self.hand.fail(error::of_call("consume", error)),
        }
    }
}

/// The thread that drives the client of a consumer.
pub(crate) struct Driver {
    pub(crate) client: Arc<BaseConsumer<Member>>,
    pub(crate) hand: Arc<Hand>,
    pub(crate) ended: CancellationToken,
    pub(crate) options: Arc<Options>,
}

impl Driver {
    /// Until the consumer ends or fails; then it leaves the group, so that others get what it
    /// has not acked.
    pub(crate) fn run(self) {
        while !self.ended.is_cancelled() && !self.hand.has_failed() {
            match self.client.poll(LOOK) {
                None => {}
                Some(Ok(_)) => {
                    let why = "a message came by a way that is none; it comes again";
                    self.hand.fail(Error::new(ErrorKind::Unavailable, why));
                }
                Some(Err(error)) => self.look_after(&error),
            }
        }
        self.hand.end(&self.client);
        // The last one that knows the client: it leaves the group with it.
        drop(self.client);
    }

    /// Ends the consumer where it is over; the library goes on by itself after the rest.
    fn look_after(&self, error: &KafkaError) {
        let topic = &self.hand.topic;
        let what = format!("consume from queue {topic}");
        let code = error::code(error);
        let failure = match code {
            Some(code) if error::is_missing(code) => {
                let why = format!("{what}: its topic is not there any more");
                Error::new(ErrorKind::Unavailable, why)
            }
            Some(code) if error::kind(code) == ErrorKind::Refused => error::of_call(&what, error),
            Some(Code::AllBrokersDown) => {
                // It says so of idle connections, too.
                match self.client.fetch_metadata(Some(topic), self.options.timeout) {
                    Ok(_) => return,
                    Err(error) => error::of_call(&what, &error),
                }
            }
            Some(code) if client::is_end(code) => error::of_call(&what, error),
            Some(Code::PollExceeded) => error::of_call(&what, error),
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => error::of_call(&what, error),
            _ => {
                tracing::debug!(%error, broker.queue = topic, "the client of a consumer tells of an error");
                return;
            }
        };
        self.hand.fail(failure);
    }
}

/// Whether the group was busy with its members, and the same call may succeed soon.
pub(crate) fn is_rebalance(error: &KafkaError) -> bool {
    matches!(
        error::code(error),
        Some(Code::RebalanceInProgress | Code::IllegalGeneration | Code::CoordinatorLoadInProgress)
    )
}
