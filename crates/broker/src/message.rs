//! What goes through a broker.

use bytes::Bytes;
use orderwire_types::{EventType, QueueName};

/// The most that all names and values of [`Message::headers`] take together, in bytes:
/// what the narrowest broker lets through (a stream of NATS 64 KiB less one byte, with all
/// that stands around headers; an AMQP frame of 128 KiB all properties of a message), with
/// room for what others add.
pub const HEADER_BYTES_MAX: usize = 60 << 10;

/// A message on its way to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it goes.
    pub to: To,
    /// Its name: the same for the same message whenever it is published, at most 255
    /// visible ASCII characters. A broker that drops repetitions does so by it.
    pub id: String,
    /// What keeps it in order with others, where the broker's order is by key.
    pub key: Option<String>,
    /// The media type of the body.
    pub content_type: &'static str,
    /// Names (lower-case letters, digits and `-`) and values (visible ASCII and
    /// spaces), together at most [`HEADER_BYTES_MAX`].
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Message {
    /// How many bytes its headers take.
    pub fn header_bytes(&self) -> usize {
        self.headers.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// To every queue that is bound to this type.
    Type(EventType),
    /// To this queue alone.
    Queue(QueueName),
}

/// A message in the hands of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// What acks it.
    pub tag: Tag,
    /// Its name, if its producer gave it one.
    pub id: Option<String>,
    /// The type that it was published by, where it was published to a type.
    pub event_type: Option<String>,
    /// The media type of the body, where its producer said it.
    pub content_type: Option<String>,
    /// Headers whose values are text, with their names in lower case; others are left out.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// Whether it may have been handed out before.
    pub redelivered: bool,
}

impl Received {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// One delivery of a message by one consumer. It grows with each, and means nothing to
/// another consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);
