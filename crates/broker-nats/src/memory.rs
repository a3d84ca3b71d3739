//! What this process knows of its queues: so that one whose consumer others remove misses
//! nothing, and so that what was held over a connection that ended comes again at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_nats::Subject;
use orderwire_types::{Pattern, QueueName};

use crate::ack::Word;
use crate::bindings::Bindings;

/// The queues of this process.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The types that each queue was declared with last.
    types: BTreeMap<QueueName, Vec<Pattern>>,
    /// Up to where each consumer was done when it was seen last.
    done: BTreeMap<String, u64>,
    /// What consumers of others take, which cannot say it.
    adopted: BTreeMap<QueueName, Bindings>,
    /// What could not be said any more over the connection that it belonged to, by queue. No
    /// more than consumers held.
    unsaid: BTreeMap<QueueName, BTreeMap<Subject, Word>>,
    /// Queues whose consumer here failed, most likely with its connection.
    interrupted: BTreeSet<QueueName>,
    /// Up to where each consumer that was made anew since handed out messages before.
    handed_out: BTreeMap<String, u64>,
}

impl Memory {
    /// The types that the queue was declared with last.
    pub(crate) fn types(&self, queue: &QueueName) -> Vec<Pattern> {
        self.lock().types.get(queue).cloned().unwrap_or_default()
    }

    pub(crate) fn declared(&self, queue: &QueueName, types: &[Pattern]) {
        self.lock().types.insert(queue.clone(), types.to_vec());
    }

    pub(crate) fn unbound(&self, queue: &QueueName, types: &[Pattern]) {
        if let Some(declared) = self.lock().types.get_mut(queue) {
            declared.retain(|pattern| !types.contains(pattern));
        }
    }

    /// Behind which place a consumer begins that is made now, when the stream goes to `last`:
    /// where the one before it was done, if others removed that; else at the end.
    pub(crate) fn start(&self, consumer: &str, last: u64) -> u64 {
        match self.lock().done.get(consumer) {
            Some(done) if *done <= last => *done,
            // Of a stream that is gone.
            Some(_) => 0,
            None => last,
        }
    }

    /// The consumer is there, and done up to this place.
    pub(crate) fn made(&self, consumer: &str, done: u64) {
        self.lock().done.insert(consumer.to_owned(), done);
    }

    /// We removed the consumer.
    pub(crate) fn removed(&self, consumer: &str) {
        self.lock().done.remove(consumer);
    }

    /// The stream was made anew: nothing of it is done.
    pub(crate) fn begin_anew(&self) {
        self.lock().done.values_mut().for_each(|done| *done = 0);
    }

    /// These consumers are there, done up to these places. Returns up to where those were
    /// done that should be there as well.
    pub(crate) fn see(&self, seen: &[(&str, u64)]) -> Vec<u64> {
        let mut known = self.lock();
        for (consumer, done) in seen {
            if let Some(known) = known.done.get_mut(*consumer) {
                *known = *done;
            }
        }
        let there: BTreeSet<&str> = seen.iter().map(|(consumer, _)| *consumer).collect();
        known.done.iter().filter(|(name, _)| !there.contains(name.as_str())).map(|(_, done)| *done).collect()
    }

    /// What the consumer of others that is this queue takes.
    pub(crate) fn adopted(&self, queue: &QueueName) -> Option<Bindings> {
        self.lock().adopted.get(queue).cloned()
    }

    pub(crate) fn adopt(&self, queue: &QueueName, bindings: Bindings) {
        self.lock().adopted.insert(queue.clone(), bindings);
    }

    /// Something is to be said about messages of a queue, over the next connection.
    pub(crate) fn leave(&self, queue: &QueueName, word: Word, replies: Vec<Subject>) {
        if !replies.is_empty() {
            let mut known = self.lock();
            let unsaid = known.unsaid.entry(queue.clone()).or_default();
            unsaid.extend(replies.into_iter().map(|reply| (reply, word)));
        }
    }

    /// What is to be said about messages of a queue.
    pub(crate) fn unsaid(&self, queue: &QueueName) -> Vec<(Subject, Word)> {
        self.lock().unsaid.remove(queue).unwrap_or_default().into_iter().collect()
    }

    /// A consumer of the queue failed.
    pub(crate) fn interrupted(&self, queue: &QueueName) {
        self.lock().interrupted.insert(queue.clone());
    }

    pub(crate) fn is_interrupted(&self, queue: &QueueName) -> bool {
        self.lock().interrupted.contains(queue)
    }

    pub(crate) fn goes_on(&self, queue: &QueueName) {
        self.lock().interrupted.remove(queue);
    }

    /// The consumer begins anew, and has handed out messages up to this place.
    pub(crate) fn begins_anew(&self, consumer: &str, handed_out: u64) {
        self.lock().handed_out.insert(consumer.to_owned(), handed_out);
    }

    /// Up to where the consumer may have handed out messages before it was made.
    pub(crate) fn handed_out(&self, consumer: &str) -> u64 {
        self.lock().handed_out.get(consumer).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Each change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_about_a_message_counts() {
        let (memory, queue) = (Memory::default(), "q".parse().unwrap());
        memory.leave(&queue, Word::GiveBack, vec!["one".into(), "two".into()]);
        memory.leave(&queue, Word::Ack, vec!["two".into()]);
        assert_eq!(memory.unsaid(&queue), [("one".into(), Word::GiveBack), ("two".into(), Word::Ack)]);
        assert!(memory.unsaid(&queue).is_empty());
    }

    #[test]
    fn a_consumer_that_others_removed_goes_on_where_it_was() {
        let memory = Memory::default();
        assert_eq!(memory.start("q", 9), 9, "a new queue begins at the end");
        memory.made("q", 9);
        memory.made("other", 9);
        assert!(memory.see(&[("q", 12), ("other", 14), ("of others", 3)]).is_empty());
        assert_eq!(memory.see(&[("other", 15)]), [12], "one is missing");
        assert_eq!(memory.start("q", 20), 12);
        assert_eq!(memory.start("q", 5), 0, "the stream is another");
        memory.removed("q");
        assert!(memory.see(&[("other", 16)]).is_empty());
        assert_eq!(memory.start("q", 20), 20);
        memory.begin_anew();
        assert_eq!(memory.start("other", 20), 0);
    }
}
