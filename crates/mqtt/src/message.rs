//! What comes, and the port that takes it.

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

/// A message of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// A fresh version 7 UUID: a name for the message as it came in, the same however often
    /// the port is asked to take it.
    pub new_id: Uuid,
    /// The topic that it was published to.
    pub topic: String,
    /// The media type of the body, where its producer said it (MQTT 5).
    pub content_type: Option<String>,
    /// The user properties, in order (MQTT 5).
    pub properties: Vec<(String, String)>,
    /// The body; of one that is larger than [`crate::Options::body_bytes_max`] the beginning.
    pub body: Bytes,
    /// Why it is not all here, in plain words, if it is not: it was too large.
    pub cut: Option<String>,
}

impl Message {
    /// The value of a user property; of several the first.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable.
    Taken,
    /// It was durable before.
    Repeated,
    /// It can never be used, and that is durable, with the reason.
    Rejected,
    /// Nobody wants it.
    Passed,
}

impl Outcome {
    /// Every outcome.
    pub(crate) const ALL: [Self; 4] = [Self::Taken, Self::Repeated, Self::Rejected, Self::Passed];

    /// Its name in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Repeated => "repeated",
            Self::Rejected => "rejected",
            Self::Passed => "passed",
        }
    }
}

/// Makes messages durable.
#[async_trait]
pub trait Port: Send + Sync + 'static {
    /// Takes messages, in order, and says for each what became of it. Once this is
    /// `Ok` the broker forgets them all, so that nothing may be able to lose them. It has to
    /// end within a bounded time.
    ///
    /// # Errors
    /// Why it cannot be done now, in plain words. The same messages are handed over again
    /// until it works; some of them may be durable by then.
    async fn take(&self, messages: &[Message]) -> Result<Vec<Outcome>, String>;
}
