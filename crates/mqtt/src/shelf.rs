//! What is held between the broker and the port.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::message::Message;

/// Messages that came and are not acknowledged. It outlives connections: what became durable
/// when its connection was gone is known when it comes again.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    waiting: VecDeque<Held>,
    /// Of what waits and what the port has in hand.
    count: usize,
    bytes: usize,
    /// What is durable and may not be acknowledged yet: by packet id a hash of the
    /// message, because the id is the broker's to use again.
    durable: HashMap<u16, u64>,
}

#[derive(Debug)]
struct Held {
    message: Message,
    ack: Option<Ack>,
    /// It is durable: only its acknowledgement is missing.
    is_durable: bool,
    bytes: usize,
}

/// What acknowledges a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) packet_id: u16,
    hash: u64,
}

/// Messages on their way to the port, in order.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Those that the port has to take.
    pub(crate) messages: Vec<Message>,
    /// Those that it took before.
    pub(crate) repeated: usize,
    /// What acknowledges all of them, in order.
    pub(crate) acks: Vec<Ack>,
    count: usize,
    bytes: usize,
}

impl Shelf {
    /// Whether it holds less than these bounds.
    pub(crate) fn has_room(&self, messages: usize, bytes: usize) -> bool {
        self.count < messages && self.bytes < bytes
    }

    /// Puts a message behind the others; `dup`: the broker says that it came before.
    pub(crate) fn put(&mut self, message: Message, packet_id: Option<u16>, dup: bool) {
        let bytes = bytes_of(&message);
        let ack = packet_id.map(|packet_id| Ack { packet_id, hash: hash(&message) });
        let is_durable = ack.is_some_and(|ack| {
            let known = self.durable.get(&ack.packet_id) == Some(&ack.hash);
            if !(dup && known) {
                // The broker has given the id to another message.
                self.durable.remove(&ack.packet_id);
            }
            dup && known
        });
        self.count += 1;
        self.bytes += bytes;
        self.waiting.push_back(Held { message, ack, is_durable, bytes });
    }

    /// The next messages, at most so many, for the port.
    pub(crate) fn next_batch(&mut self, max: usize) -> Option<Batch> {
        if self.waiting.is_empty() {
            return None;
        }
        let count = max.min(self.waiting.len());
        let mut batch = Batch { messages: Vec::new(), repeated: 0, acks: Vec::new(), count, bytes: 0 };
        for held in self.waiting.drain(..count) {
            batch.bytes += held.bytes;
            batch.acks.extend(held.ack);
            if held.is_durable {
                batch.repeated += 1;
            } else {
                batch.messages.push(held.message);
            }
        }
        Some(batch)
    }

    /// The batch is durable; its messages are no longer held.
    pub(crate) fn settled(&mut self, batch: &Batch) {
        self.count -= batch.count;
        self.bytes -= batch.bytes;
        self.durable.extend(batch.acks.iter().map(|ack| (ack.packet_id, ack.hash)));
    }

    /// The broker was told.
    pub(crate) fn acknowledged(&mut self, acks: &[Ack]) {
        for ack in acks {
            self.durable.remove(&ack.packet_id);
        }
    }

    /// The broker begins anew: it will send nothing again.
    pub(crate) fn forget(&mut self) {
        self.durable.clear();
    }
}

/// What a message takes in memory: many small properties are more than their letters.
fn bytes_of(message: &Message) -> usize {
    let properties = message.properties.iter();
    let properties = properties.map(|pair| size_of_val(pair) + pair.0.len() + pair.1.len());
    size_of::<Held>() + message.topic.len() + message.body.len() + properties.sum::<usize>()
}

fn hash(message: &Message) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&message.topic, &message.body, &message.properties, &message.content_type).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn message(body: &'static str) -> Message {
        Message {
            new_id: Uuid::now_v7(),
            topic: "a".to_owned(),
            content_type: None,
            properties: Vec::new(),
            body: body.into(),
            cut: None,
        }
    }

    #[test]
    fn what_became_durable_without_its_connection_is_only_acknowledged_when_it_comes_again() {
        let mut shelf = Shelf::default();
        shelf.put(message("one"), Some(1), false);
        shelf.put(message("two"), Some(2), false);
        shelf.put(message("none"), None, false);
        let batch = shelf.next_batch(10).unwrap();
        assert_eq!((batch.messages.len(), batch.acks.len(), batch.repeated), (3, 2, 0));
        shelf.settled(&batch);

        // The broker says again what it was not told about, and uses an id for another message.
        shelf.put(message("one"), Some(1), true);
        shelf.put(message("three"), Some(2), true);
        shelf.put(message("new"), Some(3), true);
        let batch = shelf.next_batch(10).unwrap();
        let bodies: Vec<_> = batch.messages.iter().map(|message| message.body.as_ref()).collect();
        assert_eq!((bodies, batch.repeated), (vec![&b"three"[..], b"new"], 1));
        assert_eq!(batch.acks.iter().map(|ack| ack.packet_id).collect::<Vec<_>>(), [1, 2, 3]);
        shelf.settled(&batch);
        shelf.acknowledged(&batch.acks);

        // Nothing is known any more of what was acknowledged.
        shelf.put(message("one"), Some(1), true);
        let batch = shelf.next_batch(10).unwrap();
        assert_eq!((batch.messages.len(), batch.repeated), (1, 0));
        shelf.settled(&batch);
        // A new message is new, whatever its id; and so is all of a new session.
        shelf.put(message("one"), Some(1), false);
        assert_eq!(shelf.next_batch(10).unwrap().repeated, 0);
        shelf.forget();
        shelf.put(message("one"), Some(1), true);
        assert_eq!(shelf.next_batch(10).unwrap().repeated, 0);
    }

    #[test]
    fn what_is_held_is_bounded_in_number_and_in_bytes_until_it_is_durable() {
        let mut shelf = Shelf::default();
        let bytes = bytes_of(&message("abc"));
        assert!(shelf.has_room(1, 1));
        shelf.put(message("abc"), Some(1), false);
        assert!(shelf.has_room(2, bytes + 1) && !shelf.has_room(1, bytes + 1) && !shelf.has_room(2, bytes));
        let batch = shelf.next_batch(10).unwrap();
        assert!(!shelf.has_room(1, bytes + 1));
        shelf.settled(&batch);
        assert!(shelf.has_room(1, 1));
        assert!(shelf.next_batch(10).is_none());
    }

    #[test]
    fn a_property_counts_with_what_holds_it() {
        let with = |properties| Message { properties, ..message("abc") };
        let (none, one) = (with(Vec::new()), with(vec![("k".to_owned(), "v".to_owned())]));
        assert!(bytes_of(&one) - bytes_of(&none) >= size_of::<(String, String)>() + 2);
    }
}
