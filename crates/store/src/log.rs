//! The delivery log: attempts of the forwarder at endpoints.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_types::{Client, EventId, EventType, Label, Scope};
use uuid::Uuid;

use crate::error::Error;

/// What was tried at endpoints, newest first. Written by the forwarder.
///
/// Attempts at the endpoint `NAME` belong to the object `queue/forward-NAME`.
#[async_trait]
pub trait DeliveryLog: Send + Sync {
    /// Stores attempts at one endpoint, in their order, in one durable transaction, and
    /// drops the oldest of it until `keep` are left. For the forwarder's own use.
    async fn log_attempts(
        &self,
        endpoint: &Label,
        attempts: &[DeliveryAttempt],
        keep: u64,
    ) -> Result<(), Error>;

    /// Attempts at one endpoint within the scope, in the opposite order of their storing;
    /// those before `before`, at most `max`.
    async fn attempts(
        &self,
        scope: &Scope,
        endpoint: &Label,
        filter: &AttemptFilter,
        before: Option<u64>,
        max: usize,
    ) -> Result<Vec<LoggedAttempt>, Error>;

    /// Drops attempts from before `before`, at most `limit`; how many. Those of an
    /// endpoint go in the order of their storing: one that is younger than `before` keeps
    /// what was stored after it. For the forwarder's own use.
    async fn sweep_attempts(&self, before: Timestamp, limit: usize) -> Result<u64, Error>;
}

/// One attempt to hand an event to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryAttempt {
    /// When it began.
    pub at: Timestamp,
    /// The event.
    pub event_id: EventId,
    /// Its type.
    pub event_type: EventType,
    /// Whose it is.
    pub client: Client,
    /// Its trace.
    pub trace: Uuid,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Why it failed, in plain words, and what the endpoint said of it.
    pub detail: Option<String>,
    /// How long it took; kept to the microsecond.
    pub duration: Duration,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The endpoint has the event.
    Delivered,
    /// It has not; the queue tries again, or gives up after the last attempt.
    Retry,
    /// It has not, and trying again cannot help.
    Failed,
}

impl AttemptOutcome {
    /// The outcome as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry => "retry",
            Self::Failed => "failed",
        }
    }

    /// The outcome of a word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Delivered, Self::Retry, Self::Failed].into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// Which attempts; every given condition must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptFilter {
    /// At events of this client.
    pub client: Option<Client>,
    /// At this event.
    pub event_id: Option<EventId>,
    /// With this outcome.
    pub outcome: Option<AttemptOutcome>,
}

/// An attempt in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedAttempt {
    /// Its place in the log of its endpoint: grows by one with each, never given twice
    /// while one of the endpoint is there.
    pub number: u64,
    /// The attempt.
    pub attempt: DeliveryAttempt,
}
