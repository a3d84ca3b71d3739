//! What the emitter needs from others, as a narrow port that the runtime fills.

use async_trait::async_trait;
use orderwire_types::{Client, Event};

/// Publishes what rules emit.
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Makes all of these events durable in the queues that take them, or none of them. Each is
    /// named by its id, so that a repetition within a day is known as one. `client` is that
    /// of the event that caused them: clients other than this one are announced as well.
    ///
    /// # Errors
    /// Nothing was published, or it is unknown whether all was; then the same call is safe.
    async fn publish(&self, events: Vec<Event>, client: &Client) -> Result<(), PublishError>;
}

/// Why events were not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct PublishError {
    /// What happened, in plain words.
    pub detail: String,
    /// Whether the same call may succeed later.
    pub is_retryable: bool,
}
