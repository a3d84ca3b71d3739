//! What a consumer has in hand: its partitions, what came of them, and what is handed out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orderwire_broker::{Error, ErrorKind, Received, Tag};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use tokio::sync::Notify;

use super::group::Member;
use crate::error;
use crate::ledger::{Arrival, Ledger, Note};
use crate::wire;

/// What a consumer and the thread that drives its client share.
pub(crate) struct Hand {
    pub(crate) topic: String,
    /// Told when something may have come, and at the end.
    pub(crate) wake: Arc<Notify>,
    prefetch: usize,
    state: Mutex<State>,
    /// Held by whoever commits, so that what is told later is known later. Taken before
    /// `state`.
    turn: Mutex<()>,
}

#[derive(Default)]
struct State {
    parts: BTreeMap<i32, Part>,
    /// What was handed out and is neither acked nor given back.
    held: BTreeMap<Tag, Held>,
    last_tag: u64,
    /// The partition that was served last.
    served: i32,
    /// Whether the group has said which partitions are ours, if only none.
    is_assigned: bool,
    /// Why the consumer is of no use any more.
    failure: Option<Error>,
}

/// A partition that is ours.
struct Part {
    ledger: Ledger,
    queue: PartitionQueue<Member>,
    /// What came, or was given back, and is to be handed out.
    waiting: BTreeMap<i64, Received>,
    /// Whether its log is another one, amid which we are: it is read from its beginning first.
    is_amid: bool,
}

struct Held {
    partition: i32,
    offset: i64,
    message: Received,
}

/// What there is to hand out.
pub(crate) enum Next {
    Batch(Vec<Received>),
    /// Something, once it is noted that it is handed out.
    ToNote,
    /// Something, once partitions are read from their beginning.
    ToRewind,
    Nothing,
}

impl Hand {
    pub(crate) fn new(topic: String, prefetch: usize) -> Self {
        Self { topic, wake: Arc::default(), prefetch, state: Mutex::default(), turn: Mutex::default() }
    }

    /// Whether the first partitions were given, if only none.
    ///
    /// # Errors
    /// Why that does not come any more.
    pub(crate) fn is_assigned(&self) -> Result<bool, Error> {
        let state = self.state();
        state.failure.clone().map_or(Ok(state.is_assigned), Err)
    }

    pub(crate) fn assigned(&self) {
        self.state().is_assigned = true;
        self.wake.notify_one();
    }

    /// A partition is ours from now on; `ledger`: what is known of it.
    pub(crate) fn gain(&self, partition: i32, ledger: Ledger, mut queue: PartitionQueue<Member>) {
        let wake = Arc::clone(&self.wake);
        queue.set_nonempty_callback(move || wake.notify_one());
        let part = Part { ledger, queue, waiting: BTreeMap::new(), is_amid: false };
        self.state().parts.insert(partition, part);
    }

    /// Reads partitions from their beginning whose log is another one than was read before.
    ///
    /// # Errors
    /// What the library said.
    pub(crate) fn rewind(&self, client: &BaseConsumer<Member>, within: Duration) -> Result<(), KafkaError> {
        let amid: Vec<i32> = {
            let state = self.state();
            let amid = state.parts.iter().filter(|(_, part)| part.is_amid);
            amid.map(|(partition, _)| *partition).collect()
        };
        for partition in amid {
            client.seek(&self.topic, partition, Offset::Beginning, within)?;
            if let Some(part) = self.state().parts.get_mut(&partition) {
                part.is_amid = false;
            }
            tracing::warn!(
                broker.queue = self.topic,
                partition,
                "a partition is not the one that was read before, and is read from its beginning"
            );
        }
        Ok(())
    }

    /// Partitions are not ours any more: the group is told what is done of them. What is held
    /// of them comes to somebody else, and its acks mean nothing.
    pub(crate) fn lose(&self, partitions: &[i32], client: &BaseConsumer<Member>) {
        let _turn = self.turn();
        let notes = {
            let state = self.state();
            let lost = state.parts.iter().filter(|(partition, _)| partitions.contains(partition));
            lost.filter_map(|(partition, part)| Some((*partition, part.ledger.last_note()?)))
                .collect::<Vec<_>>()
        };
        if let Err(error) = self.tell(client, &notes) {
            // Who was away for too long has lost them already: what was not told comes again.
            tracing::debug!(%error, broker.queue = self.topic, "partitions went without a word about what is done");
        }
        let mut state = self.state();
        state.parts.retain(|partition, _| !partitions.contains(partition));
        state.held.retain(|_, held| !partitions.contains(&held.partition));
    }

    /// The end: everything is lost, and the consumer fails.
    pub(crate) fn end(&self, client: &BaseConsumer<Member>) {
        let all: Vec<i32> = self.state().parts.keys().copied().collect();
        self.lose(&all, client);
        self.fail(error::closed());
    }

    /// The consumer is of no use any more, if it was until now.
    pub(crate) fn fail(&self, why: Error) {
        self.state().failure.get_or_insert(why);
        self.wake.notify_one();
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.state().failure.is_some()
    }

    /// What there is to hand out: handed out by this, as far as it can be.
    ///
    /// # Errors
    /// Why there never will be anything.
    pub(crate) fn next(&self, max: usize) -> Result<Next, Error> {
        let mut state = self.state();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        state.fill(self.prefetch);
        if state.parts.values().any(|part| part.is_amid) {
            return Ok(Next::ToRewind);
        }
        Ok(state.hand_out(max.min(self.prefetch)))
    }

    /// These messages are done.
    ///
    /// # Errors
    /// Why nobody hears that any more.
    pub(crate) fn settle(&self, tags: &[Tag]) -> Result<(), Error> {
        let mut state = self.state();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        for tag in tags {
            let Some(Held { partition, offset, .. }) = state.held.remove(tag) else { continue };
            if let Some(part) = state.parts.get_mut(&partition) {
                part.ledger.settle(offset);
            }
        }
        Ok(())
    }

    /// These messages are to be handed out again.
    ///
    /// # Errors
    /// Why they are not, by this consumer.
    pub(crate) fn give_back(&self, tags: &[Tag]) -> Result<(), Error> {
        let mut state = self.state();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        for tag in tags {
            let Some(Held { partition, offset, message }) = state.held.remove(tag) else { continue };
            if let Some(part) = state.parts.get_mut(&partition) {
                part.waiting.insert(offset, Received { redelivered: true, ..message });
            }
        }
        Ok(())
    }

    /// Tells the group what it does not know yet: what is done, and that what waits here is
    /// handed out. Waits for its answer.
    ///
    /// # Errors
    /// What the group said.
    pub(crate) fn commit(&self, client: &BaseConsumer<Member>) -> Result<(), KafkaError> {
        let _turn = self.turn();
        let notes = {
            let state = self.state();
            let soon = |part: &Part| part.waiting.last_key_value().map(|(offset, _)| *offset);
            let notes =
                state.parts.iter().map(|(partition, part)| (*partition, part.ledger.note(soon(part))));
            notes.filter_map(|(partition, note)| Some((partition, note?))).collect::<Vec<_>>()
        };
        self.tell(client, &notes)?;
        let mut state = self.state();
        for (partition, note) in &notes {
            if let Some(part) = state.parts.get_mut(partition) {
                part.ledger.know(note);
            }
        }
        Ok(())
    }

    fn tell(&self, client: &BaseConsumer<Member>, notes: &[(i32, Note)]) -> Result<(), KafkaError> {
        if notes.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for (partition, note) in notes {
            let mut entry = list.add_partition(&self.topic, *partition);
            entry.set_offset(Offset::Offset(note.offset))?;
            entry.set_metadata(&note.memo);
        }
        client.commit(&list, CommitMode::Sync)?;
        list.elements().iter().try_for_each(TopicPartitionListElem::error)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes what came, one message of each partition after the other, while there is room.
    fn fill(&mut self, prefetch: usize) {
        let waiting: usize = self.parts.values().map(|part| part.waiting.len()).sum();
        let mut room = prefetch.saturating_sub(self.held.len() + waiting);
        let mut came = true;
        while came && room > 0 {
            came = false;
            for (partition, part) in &mut self.parts {
                if room == 0 {
                    break;
                }
                if part.is_amid {
                    continue;
                }
                match part.queue.poll(Duration::ZERO) {
                    None => {}
                    Some(Ok(record)) => {
                        came = true;
                        let mark = wire::mark(&record);
                        let offset = mark.offset;
                        if part.ledger.is_other(mark) {
                            // A tag of the former log must not settle a message of this one.
                            room += part.waiting.len();
                            part.waiting.clear();
                            self.held.retain(|_, held| held.partition != *partition);
                        }
                        if part.ledger.is_amid(mark) {
                            part.is_amid = true;
                            part.ledger = Ledger::default();
                            continue;
                        }
                        if let Arrival::New { redelivered } = part.ledger.arrive(mark) {
                            part.waiting.insert(offset, Received { redelivered, ..wire::received(&record) });
                            room -= 1;
                        }
                    }
                    Some(Err(why)) => {
                        let why = error::of_call("consume", &why);
                        self.failure.get_or_insert(Error::new(ErrorKind::Unavailable, why.to_string()));
                    }
                }
            }
        }
    }

    fn hand_out(&mut self, max: usize) -> Next {
        let (mut batch, mut is_left) = (Vec::new(), false);
        // The one behind the one that was served last is first.
        let behind = self.parts.range(self.served.saturating_add(1)..).map(|(partition, _)| *partition);
        let order: Vec<i32> =
            behind.chain(self.parts.range(..=self.served).map(|(partition, _)| *partition)).collect();
        for partition in order {
            let Some(part) = self.parts.get_mut(&partition) else { continue };
            while batch.len() < max {
                let Some(entry) = part.waiting.first_entry() else { break };
                let offset = *entry.key();
                if !part.ledger.is_noted(offset) {
                    is_left = true;
                    break;
                }
                let mut message = entry.remove();
                part.ledger.hand_out(offset);
                self.last_tag += 1;
                self.served = partition;
                message.tag = Tag(self.last_tag);
                self.held.insert(message.tag, Held { partition, offset, message: message.clone() });
                batch.push(message);
            }
        }
        match (batch.is_empty(), is_left) {
            (false, _) => Next::Batch(batch),
            (true, true) => Next::ToNote,
            (true, false) => Next::Nothing,
        }
    }
}
