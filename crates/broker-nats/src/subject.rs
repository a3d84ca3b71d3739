//! The names of things at the server: subjects, the stream and its consumers.

use orderwire_broker::To;
use orderwire_types::{EventType, QueueName};

use crate::options::Options;

/// The consumer through which a stream that others made is read.
pub(crate) const ADOPTER: &str = "orderwire";

/// The names that follow from the settings.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// The stream.
    pub(crate) stream: String,
    /// `orderwire.events.`
    events: String,
    /// `orderwire.queue.`
    queues: String,
}

impl Names {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            stream: options.stream.clone(),
            events: format!("{}.events.", options.prefix),
            queues: format!("{}.queue.", options.prefix),
        }
    }

    /// The subjects of the stream.
    pub(crate) fn subjects(&self) -> Vec<String> {
        vec![self.by_any_type(), format!("{}*", self.queues)]
    }

    /// The subject that a message is published to.
    pub(crate) fn subject(&self, to: &To) -> String {
        match to {
            To::Type(event_type) => format!("{}{event_type}", self.events),
            To::Queue(queue) => self.by_name(queue),
        }
    }

    /// The subject of a queue.
    pub(crate) fn by_name(&self, queue: &QueueName) -> String {
        format!("{}{}", self.queues, escaped(queue))
    }

    /// A filter over types as one over subjects.
    pub(crate) fn by_type(&self, filter: &str) -> String {
        format!("{}{filter}", self.events)
    }

    /// The type that a message was published by, where it was published to a type.
    pub(crate) fn event_type<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&self.events)
    }

    /// Whether what was published to this subject is for a queue: to its name, or by a type
    /// that `takes` lets through. What cannot be told, such as a type that is none of ours,
    /// is: who reads it finds out.
    pub(crate) fn is_for(
        &self,
        queue: &QueueName,
        subject: &str,
        takes: impl FnOnce(&EventType) -> bool,
    ) -> bool {
        match self.event_type(subject) {
            Some(event_type) => event_type.parse().map_or(true, |event_type| takes(&event_type)),
            None => !subject.starts_with(&self.queues) || subject == self.by_name(queue),
        }
    }

    /// The filter of all that is published to types.
    pub(crate) fn by_any_type(&self) -> String {
        self.by_type(">")
    }

    /// Whether a filter is the subject of a queue.
    pub(crate) fn is_by_name(&self, filter: &str) -> bool {
        filter.strip_prefix(&self.queues).is_some_and(|name| name != "*" && name != ">")
    }
}

/// The name of a queue's consumer. Names of queues have no `=` and no capitals.
pub(crate) fn consumer(queue: &QueueName) -> String {
    escaped(queue)
}

/// The queue of this consumer, if it is the first of one.
pub(crate) fn queue_of(consumer: &str) -> Option<QueueName> {
    consumer.replace('=', ".").parse().ok()
}

/// The second consumer of a queue, for what is sent to it by name.
pub(crate) fn named_consumer(queue: &QueueName) -> String {
    format!("{}+named", escaped(queue))
}

/// What stands in for a consumer while its filter becomes another.
pub(crate) fn moving_consumer(consumer: &str) -> String {
    format!("{consumer}+moving")
}

/// The name that the server drops repetitions by. It does so in the whole stream, where
/// the same message may go to several queues by name.
pub(crate) fn message_id(to: &To, id: &str) -> String {
    match to {
        To::Type(_) => id.to_owned(),
        // An id has no space.
        To::Queue(queue) => format!("{queue} {id}"),
    }
}

/// The id within such a name.
pub(crate) fn id_of<'a>(queue: &QueueName, message_id: &'a str) -> &'a str {
    let id = message_id.strip_prefix(queue.as_str()).and_then(|rest| rest.strip_prefix(' '));
    id.unwrap_or(message_id)
}

fn escaped(queue: &QueueName) -> String {
    queue.as_str().replace('.', "=")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new(&Options::new("nats://one"))
    }

    fn queue(name: &str) -> QueueName {
        name.parse().unwrap()
    }

    #[test]
    fn subjects_are_words_joined_by_single_dots() {
        let to_type = To::Type("mycompany.producer.event.client_1.published".parse().unwrap());
        assert_eq!(names().subject(&to_type), "orderwire.events.mycompany.producer.event.client_1.published");
        assert_eq!(names().subject(&To::Queue(queue("a..b-c"))), "orderwire.queue.a==b-c");
        assert_eq!(consumer(&queue("a.b")), "a=b");
        assert_ne!(named_consumer(&queue("a")), consumer(&queue("a.named")));
        assert_eq!(queue_of(&consumer(&queue("a.b-c"))), Some(queue("a.b-c")));
        assert_eq!(queue_of(&named_consumer(&queue("a"))), None);
        assert!(names().is_by_name("orderwire.queue.a") && !names().is_by_name("orderwire.queue.*"));
    }

    #[test]
    fn a_queue_takes_its_types_and_what_is_sent_to_it() {
        let (names, own) = (names(), queue("own"));
        let types: [orderwire_types::Pattern; 2] = ["a.*".parse().unwrap(), "b.#".parse().unwrap()];
        let takes = |subject: &str| {
            names.is_for(&own, subject, |event_type| types.iter().any(|pattern| pattern.matches(event_type)))
        };
        assert!(takes("orderwire.events.a.x") && takes("orderwire.events.b") && takes("orderwire.queue.own"));
        assert!(!takes("orderwire.events.a") && !takes("orderwire.events.a.x.y"));
        assert!(!takes("orderwire.queue.other"));
        // Of a stream that others made, or by a type that others made up.
        assert!(takes("sensors.air.1") && takes("orderwire.events.a b"));
    }

    #[test]
    fn the_same_id_to_several_queues_is_no_repetition() {
        let (one, two) = (queue("one"), queue("two"));
        let id = |to: &To| message_id(to, "id-1");
        let (to_one, to_two) = (To::Queue(one.clone()), To::Queue(two));
        assert_ne!(id(&to_one), id(&to_two));
        assert_eq!(id_of(&one, &id(&to_one)), "id-1");
        assert_eq!(id_of(&one, "id-1"), "id-1");
        assert_eq!(id_of(&one, "one"), "one");
    }
}
