//! Identifiers. Each is a newtype, so that one cannot stand for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The identity of an event: derived (version 5) where the producer names the
/// event, new (version 7) otherwise. See [`crate::identity`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub Uuid);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EventId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// A trace: everything that happened because of one call.
///
/// `id` is a UUID and, as 32 hex digits, the W3C trace id. A trace id that a
/// producer gave and that is no UUID is kept in `given` and mapped to `id`
/// (version 5), so that both spellings find the same trace.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TraceId {
    /// The trace id inside Orderwire.
    pub id: Uuid,
    /// The producer's spelling, when it differs from the hyphenated `id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<String>,
}

impl TraceId {
    /// A trace with a UUID of its own.
    pub fn from_uuid(id: Uuid) -> Self {
        Self { id, given: None }
    }

    /// The trace for a producer's spelling: a UUID in any of its forms (also
    /// the 32 hex digits of W3C), anything else mapped by version 5.
    pub fn from_given(text: &str) -> Self {
        match Uuid::parse_str(text) {
            Ok(id) if id.hyphenated().to_string() == text && !id.is_nil() => Self::from_uuid(id),
            Ok(id) if !id.is_nil() => Self { id, given: Some(text.to_owned()) },
            // W3C knows no trace of zeros, so the nil UUID is mapped as well.
            Ok(_) | Err(_) => Self {
                id: Uuid::new_v5(&crate::identity::TRACE_NAMESPACE, text.as_bytes()),
                given: Some(text.to_owned()),
            },
        }
    }

    /// The 32 lower-case hex digits that `traceparent` carries.
    pub fn w3c(&self) -> String {
        self.id.simple().to_string()
    }
}

/// The producer's spelling, or the hyphenated UUID.
impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.given {
            Some(given) => f.write_str(given),
            None => self.id.hyphenated().fmt(f),
        }
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
