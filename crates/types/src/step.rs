//! Steps of a trace: what happened, in order, with its outcome.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::names::{Client, QueueName};

/// One step of a trace. Its serde form is stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When it ended.
    pub at: Timestamp,
    /// The role that did it: `gateway`, `queue`, `recorder`, a consumer's principal.
    pub role: String,
    /// What: `accepted`, `queued`, `leased`, `attempt`, `recorded`,
    /// `emitted`, `dead-lettered`, `edited`, `replayed`, `discarded`.
    pub step: String,
    /// How it went: `ok`, `waiting`, `retry`, `failed`, `expired`, `duplicate`.
    pub outcome: String,
    /// The queue, where one is involved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueName>,
    /// The event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<Uuid>,
    /// The attempt, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How long it took, in milliseconds with fraction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<Millis>,
    /// Anything worth knowing, in plain words: a cause, a number of rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Step {
    /// A step that went well; whoever makes it adds what else is known.
    pub fn ok(at: Timestamp, role: &str, step: &str) -> Self {
        Self {
            at,
            role: role.to_owned(),
            step: step.to_owned(),
            outcome: "ok".to_owned(),
            queue: None,
            event_id: None,
            attempt: None,
            duration_ms: None,
            detail: None,
        }
    }
}

/// A duration in milliseconds, kept to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Millis(pub i64);

impl Millis {
    /// The time from `start` to `end`.
    pub fn between(start: Timestamp, end: Timestamp) -> Self {
        Self(end.as_microsecond() - start.as_microsecond())
    }
}

impl Serialize for Millis {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[expect(clippy::cast_precision_loss, reason = "a duration below 285 years is exact")]
        serializer.serialize_f64(self.0 as f64 / 1_000.0)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let millis = f64::deserialize(deserializer)?;
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        Ok(Self((millis * 1_000.0).round() as i64))
    }
}

/// Steps to be stored under one trace, in the commit that makes them true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceRecord {
    /// The trace.
    pub trace: Uuid,
    /// Whose it is.
    pub client: Client,
    /// The steps, in order.
    pub steps: Vec<Step>,
}
