//! What a consumer shares with the task that pulls for it, and how it hands out messages.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::Subject;
use async_trait::async_trait;
use orderwire_broker::{Consumer, Error, ErrorKind, Received, Tag};
use orderwire_types::QueueName;
use tokio::sync::Notify;
use tokio_util::sync::DropGuard;

use crate::ack::{Word, say};
use crate::topology::Topology;

/// A message that arrived, and is not handed out yet. Its tag means nothing.
#[derive(Debug)]
pub(crate) struct Arrived {
    /// Its place in the stream.
    pub(crate) place: u64,
    /// Where the server hears of it.
    pub(crate) reply: Subject,
    pub(crate) received: Received,
}

/// What a consumer has, shared between it and its task.
#[derive(Debug)]
pub(crate) struct Shared {
    prefetch: usize,
    state: Mutex<State>,
    /// Told when something can be taken, or it failed.
    arrived: Notify,
    /// Told when more may be asked for.
    pub(crate) freed: Notify,
}

#[derive(Debug)]
struct State {
    /// Whether what waited for the consumer is put in order, and may be taken.
    is_open: bool,
    waiting: VecDeque<Arrived>,
    /// What was handed out and is not acked.
    held: BTreeMap<Tag, Subject>,
    last: u64,
    failed: Option<Error>,
    /// What was held when it failed.
    lost: BTreeMap<Tag, Subject>,
}

impl Shared {
    pub(crate) fn new(prefetch: u16, is_open: bool) -> Self {
        let (held, lost) = (BTreeMap::new(), BTreeMap::new());
        let state = State { is_open, waiting: VecDeque::new(), held, last: 0, failed: None, lost };
        Self {
            prefetch: usize::from(prefetch.max(1)),
            state: Mutex::new(state),
            arrived: Notify::new(),
            freed: Notify::new(),
        }
    }

    /// How many messages wait, and how many more the consumer may have, those that wait
    /// counted among what it has.
    pub(crate) fn room(&self) -> (usize, usize) {
        let state = self.lock();
        let has = state.waiting.len() + state.held.len();
        (state.waiting.len(), self.prefetch.saturating_sub(has))
    }

    /// Where the server hears of all that is not acked.
    pub(crate) fn unacked(&self) -> Vec<Subject> {
        let state = self.lock();
        state.held.values().chain(state.waiting.iter().map(|arrived| &arrived.reply)).cloned().collect()
    }

    pub(crate) fn put(&self, arrived: Arrived) {
        self.lock().waiting.push_back(arrived);
        self.arrived.notify_one();
    }

    /// Lets the consumer take what arrived, in the order of the stream.
    pub(crate) fn open(&self) {
        let mut state = self.lock();
        state.is_open = true;
        state.waiting.make_contiguous().sort_by_key(|arrived| arrived.place);
        self.arrived.notify_one();
    }

    /// Ends it, and returns where the server hears of all that is not acked.
    pub(crate) fn fail(&self, why: Error) -> Vec<Subject> {
        let mut state = self.lock();
        state.failed.get_or_insert(why);
        state.lost = std::mem::take(&mut state.held);
        let held: Vec<Subject> = state.lost.values().cloned().collect();
        let waiting = std::mem::take(&mut state.waiting).into_iter().map(|arrived| arrived.reply);
        let unacked = held.into_iter().chain(waiting).collect();
        self.arrived.notify_one();
        unacked
    }

    fn take(&self, max: usize) -> Result<Vec<Received>, Error> {
        let mut state = self.lock();
        if let Some(why) = &state.failed {
            return Err(why.clone());
        }
        if !state.is_open {
            return Ok(Vec::new());
        }
        let may = self.prefetch.saturating_sub(state.held.len()).min(max).min(state.waiting.len());
        let mut taken = Vec::with_capacity(may);
        for _ in 0..may {
            let Some(Arrived { reply, mut received, .. }) = state.waiting.pop_front() else { break };
            state.last += 1;
            received.tag = Tag(state.last);
            state.held.insert(received.tag, reply);
            taken.push(received);
        }
        if may > 0 {
            self.freed.notify_one();
        }
        Ok(taken)
    }

    /// Where the server hears of these. They are held no more.
    fn release(&self, tags: &[Tag]) -> Vec<Subject> {
        let state = &mut *self.lock();
        let release = |tag| state.held.remove(tag).or_else(|| state.lost.remove(tag));
        tags.iter().filter_map(release).collect()
    }

    /// Why it is of no use any more.
    fn failed(&self) -> Option<Error> {
        self.lock().failed.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A consumer of a queue. Its task ends when it is dropped, and gives back what it had.
pub(crate) struct NatsConsumer {
    pub(crate) topology: Arc<Topology>,
    pub(crate) queue: QueueName,
    /// The number of the connection that it belongs to.
    pub(crate) connection: u64,
    pub(crate) shared: Arc<Shared>,
    pub(crate) _ends: DropGuard,
}

impl NatsConsumer {
    async fn tell(&self, word: Word, tags: &[Tag]) -> Result<(), Error> {
        let (link, memory) = (&self.topology.link, &self.topology.memory);
        let replies = self.shared.release(tags);
        let ended = || Error::new(ErrorKind::Unavailable, "ack: the connection of the consumer ended");
        let failed = if link.holds(self.connection) { self.shared.failed() } else { Some(ended()) };
        let said = match failed {
            Some(why) => Err(why),
            None => say(link.client(), word, replies.clone(), link.timeout()).await,
        };
        if said.is_err() {
            memory.leave(&self.queue, word, replies);
        }
        self.shared.freed.notify_one();
        said
    }
}

#[async_trait]
impl Consumer for NatsConsumer {
    async fn next(&mut self, max: usize) -> Result<Vec<Received>, Error> {
        loop {
            let taken = self.shared.take(max.max(1))?;
            if !taken.is_empty() {
                return Ok(taken);
            }
            self.shared.arrived.notified().await;
        }
    }

    async fn ack(&mut self, tags: &[Tag]) -> Result<(), Error> {
        self.tell(Word::Ack, tags).await
    }

    async fn give_back(&mut self, tags: &[Tag]) -> Result<(), Error> {
        self.tell(Word::GiveBack, tags).await
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn arrived(place: u64) -> Arrived {
        let received = Received {
            tag: Tag(0),
            id: None,
            event_type: None,
            content_type: None,
            headers: Vec::new(),
            body: Bytes::from(place.to_string()),
            redelivered: false,
        };
        Arrived { place, reply: format!("reply.{place}").into(), received }
    }

    fn bodies(taken: &[Received]) -> Vec<&[u8]> {
        taken.iter().map(|received| received.body.as_ref()).collect()
    }

    #[test]
    fn what_waited_is_put_in_order_before_it_is_taken() {
        let shared = Shared::new(10, false);
        for place in [3, 1, 2] {
            shared.put(arrived(place));
        }
        assert!(shared.take(10).unwrap().is_empty());
        shared.open();
        assert_eq!(bodies(&shared.take(2).unwrap()), [b"1", b"2"]);
    }

    #[test]
    fn no_more_is_held_than_the_prefetch() {
        let shared = Shared::new(2, true);
        for place in 1..=4 {
            shared.put(arrived(place));
        }
        assert_eq!(shared.take(10).unwrap().len(), 2);
        assert!(shared.take(10).unwrap().is_empty());
        assert_eq!(shared.room(), (2, 0));
        assert_eq!(shared.release(&[Tag(2), Tag(9)]), ["reply.2".into()]);
        assert_eq!(bodies(&shared.take(10).unwrap()), [b"3"]);
    }

    #[test]
    fn a_failure_returns_all_that_is_not_acked() {
        let shared = Shared::new(1, true);
        shared.put(arrived(1));
        shared.put(arrived(2));
        shared.take(1).unwrap();
        assert_eq!(shared.unacked(), ["reply.1".into(), "reply.2".into()]);
        let unacked = shared.fail(Error::new(ErrorKind::Unavailable, "gone"));
        assert_eq!(unacked, ["reply.1".into(), "reply.2".into()]);
        assert!(shared.take(1).is_err() && shared.failed().is_some());
        // What was handed out can still be told of, once.
        assert_eq!(shared.release(&[Tag(1), Tag(2)]), ["reply.1".into()]);
        assert!(shared.release(&[Tag(1)]).is_empty());
    }
}
