//! What the reference broker knows, and how it changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use orderwire_types::{Pattern, QueueName};

use crate::capabilities::Capabilities;
use crate::error::{Error, ErrorKind};
use crate::message::{HEADER_BYTES_MAX, Message, Received, Tag, To};

/// One broker.
pub(super) type ConnectionId = u64;
/// One consumer of any broker.
pub(super) type ConsumerId = u64;

/// The arguments of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Quorum,
    /// Made by others, with arguments of theirs.
    Foreign,
}

/// Everything.
#[derive(Clone, Default)]
pub(super) struct State {
    /// The last number that was given to a connection, a consumer or a message.
    last: u64,
    open: BTreeSet<ConnectionId>,
    queues: BTreeMap<QueueName, Queue>,
    consumers: BTreeMap<ConsumerId, Holding>,
}

#[derive(Clone)]
struct Queue {
    kind: Kind,
    types: Vec<Pattern>,
    /// In the order of their numbers.
    waiting: VecDeque<Waiting>,
}

impl Queue {
    fn takes(&self, name: &QueueName, to: &To, able: &Capabilities) -> bool {
        match to {
            To::Type(event_type) if able.routes_by_pattern => {
                self.types.iter().any(|pattern| pattern.matches(event_type))
            }
            // Everything to everybody who takes any type: consumers pass over the rest.
            To::Type(_) => !self.types.is_empty(),
            To::Queue(only) => name == only,
        }
    }
}

#[derive(Clone)]
struct Waiting {
    number: u64,
    message: Received,
}

/// What a consumer has.
#[derive(Clone)]
struct Holding {
    connection: ConnectionId,
    queue: QueueName,
    prefetch: usize,
    last_tag: u64,
    unacked: BTreeMap<Tag, Waiting>,
}

impl State {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn connect(&mut self) -> ConnectionId {
        let id = self.number();
        self.open.insert(id);
        id
    }

    pub(super) fn is_open(&self, connection: ConnectionId) -> bool {
        self.open.contains(&connection)
    }

    /// Ends a connection with all its consumers.
    pub(super) fn disconnect(&mut self, connection: ConnectionId) {
        self.open.remove(&connection);
        let mine = self.consumers.iter().filter(|(_, holding)| holding.connection == connection);
        for consumer in mine.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end(consumer);
        }
    }

    pub(super) fn kind(&self, queue: &QueueName) -> Option<Kind> {
        self.queues.get(queue).map(|queue| queue.kind)
    }

    pub(super) fn make(&mut self, queue: &QueueName, kind: Kind) {
        let made = Queue { kind, types: Vec::new(), waiting: VecDeque::new() };
        self.queues.insert(queue.clone(), made);
    }

    pub(super) fn bind(&mut self, queue: &QueueName, types: &[Pattern]) {
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.types = types.to_vec();
        }
    }

    pub(super) fn unbind(&mut self, queue: &QueueName, types: &[Pattern]) {
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.types.retain(|pattern| !types.contains(pattern));
        }
    }

    /// Removes queues with their consumers.
    pub(super) fn remove(&mut self, queues: &[QueueName]) {
        self.consumers.retain(|_, holding| !queues.contains(&holding.queue));
        self.queues.retain(|name, _| !queues.contains(name));
    }

    pub(super) fn copy_queue(&mut self, queue: &QueueName, copy: &QueueName) {
        if let Some(queue) = self.queues.get(queue).cloned() {
            self.queues.insert(copy.clone(), queue);
        }
    }

    pub(super) fn empty_queue(&mut self, queue: &QueueName) {
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.waiting.clear();
        }
    }

    pub(super) fn publish(&mut self, message: &Message, able: &Capabilities) -> Result<(), Error> {
        if message.body.len() > able.body_bytes_max || message.header_bytes() > HEADER_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("publish message {}: it is too large", message.id),
            ));
        }
        let number = self.number();
        let event_type = match &message.to {
            To::Type(event_type) => Some(event_type.as_str().to_owned()),
            To::Queue(_) => None,
        };
        let received = Received {
            tag: Tag(0),
            id: Some(message.id.clone()),
            event_type,
            content_type: Some(message.content_type.to_owned()),
            headers: message.headers.clone(),
            body: message.body.clone(),
            redelivered: false,
        };
        let mut taken = false;
        for (_, queue) in self.queues.iter_mut().filter(|(name, queue)| queue.takes(name, &message.to, able))
        {
            queue.waiting.push_back(Waiting { number, message: received.clone() });
            taken = true;
        }
        if taken || !able.reports_unroutable {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unroutable, format!("publish message {}: no queue takes it", message.id)))
    }

    /// A consumer of a queue; none where there is no such queue.
    pub(super) fn consume(
        &mut self,
        connection: ConnectionId,
        queue: &QueueName,
        prefetch: usize,
    ) -> Option<ConsumerId> {
        self.queues.get(queue)?;
        let id = self.number();
        let unacked = BTreeMap::new();
        let holding = Holding { connection, queue: queue.clone(), prefetch, last_tag: 0, unacked };
        self.consumers.insert(id, holding);
        Some(id)
    }

    /// Gives a consumer what is there and what it may hold; none after it ended.
    pub(super) fn take(&mut self, consumer: ConsumerId, max: usize) -> Option<Vec<Received>> {
        let holding = self.consumers.get_mut(&consumer)?;
        let queue = self.queues.get_mut(&holding.queue)?;
        let room = holding.prefetch.saturating_sub(holding.unacked.len());
        let count = max.min(room).min(queue.waiting.len());
        let mut taken = Vec::with_capacity(count);
        for mut waiting in queue.waiting.drain(..count) {
            holding.last_tag += 1;
            waiting.message.tag = Tag(holding.last_tag);
            taken.push(waiting.message.clone());
            holding.unacked.insert(waiting.message.tag, waiting);
        }
        Some(taken)
    }

    pub(super) fn ack(&mut self, consumer: ConsumerId, tags: &[Tag]) -> Option<()> {
        let holding = self.consumers.get_mut(&consumer)?;
        holding.unacked.retain(|tag, _| !tags.contains(tag));
        Some(())
    }

    pub(super) fn give_back(&mut self, consumer: ConsumerId, tags: &[Tag]) -> Option<()> {
        let holding = self.consumers.get_mut(&consumer)?;
        let given: Vec<_> = tags.iter().filter_map(|tag| holding.unacked.remove(tag)).collect();
        let queue = holding.queue.clone();
        self.put_back(&queue, given);
        Some(())
    }

    /// Ends a consumer; what it held waits again.
    pub(super) fn end(&mut self, consumer: ConsumerId) {
        if let Some(holding) = self.consumers.remove(&consumer) {
            self.put_back(&holding.queue, holding.unacked.into_values());
        }
    }

    fn put_back(&mut self, queue: &QueueName, given: impl IntoIterator<Item = Waiting>) {
        let Some(queue) = self.queues.get_mut(queue) else { return };
        for mut waiting in given {
            waiting.message.redelivered = true;
            let place = queue.waiting.partition_point(|other| other.number < waiting.number);
            queue.waiting.insert(place, waiting);
        }
    }
}
