//! What the transport knows, and how it completes what the event says.

use jiff::Timestamp;
use uuid::Uuid;

use super::trace::parse_traceparent;
use crate::event::{Data, Event, Origin};
use crate::identity;
use crate::ids::{EventId, TraceId};
use crate::limits::Limits;
use crate::names::{Client, EventType};
use crate::problem::Fault;

/// What the transport knows about an input.
#[derive(Clone, Debug)]
pub struct Arrival<'a> {
    /// Who publishes: the principal of the scope.
    pub principal: &'a str,
    /// The client of an event that names none.
    pub client: Client,
    /// The type from the path. Plain JSON needs it; an event that says its own
    /// type must agree with it.
    pub event_type: Option<&'a EventType>,
    /// The source of an event that names none, a URI reference; without it the
    /// source is `/{principal}`.
    pub source: Option<&'a str>,
    /// The W3C `traceparent` header; a malformed one is ignored.
    pub traceparent: Option<&'a str>,
    /// The AMQP message id.
    pub message_id: Option<&'a str>,
    /// The name of the request, derived from its `Idempotency-Key`.
    pub request: Option<RequestName>,
    /// Now: when the event is accepted.
    pub now: Timestamp,
    /// A fresh version 7 UUID, the identity of an event that nothing names.
    pub new_id: Uuid,
    /// How much is taken.
    pub limits: &'a Limits,
}

/// The name that a request's `Idempotency-Key` gives to those of its events that
/// their producer did not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestName {
    /// See [`identity::request_id`].
    pub id: Uuid,
    /// Which event of the request: `None` where a request holds one event,
    /// whose id then is `id` itself; otherwise 0 for the first.
    pub index: Option<u64>,
}

/// An event as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The event.
    pub event: Event,
    /// Whether its identity is derived, so that the producer may repeat it and
    /// it must be remembered.
    pub named: bool,
}

/// What a form says about an event, before the transport completes it.
pub(super) struct Draft {
    pub(super) event_type: EventType,
    pub(super) client: Client,
    pub(super) source: String,
    pub(super) key: Option<String>,
    pub(super) time: Option<String>,
    /// The trace in the body or, after it, in a CloudEvents extension.
    pub(super) trace: Option<TraceId>,
    pub(super) attempt: Option<String>,
    pub(super) cause: Option<EventId>,
    /// The identity that the producer's `id` gives.
    pub(super) produced: Option<EventId>,
    /// The identity that the content gives.
    pub(super) content: Option<EventId>,
    pub(super) origin: Origin,
    pub(super) data: Data,
}

impl Arrival<'_> {
    /// The type that the event says and the one of the path, which must agree.
    pub(super) fn type_of(&self, given: Option<&str>, pointer: &str) -> Result<EventType, Fault> {
        let Some(given) = given else {
            return self.event_type.cloned().ok_or_else(|| {
                Fault::invalid(
                    pointer,
                    "the event has no type: give it one here or post it to /v1/events/{type}",
                )
            });
        };
        let given: EventType = given.parse().map_err(|err| Fault::invalid(pointer, format!("{err}")))?;
        match self.event_type {
            Some(path) if *path != given => Err(Fault::invalid(
                pointer,
                format!("the event says that its type is {given}, but it was posted as {path}"),
            )),
            _ => Ok(given),
        }
    }

    /// The client that the event names, else the transport's.
    pub(super) fn client_of(&self, given: Option<&str>, pointer: &str) -> Result<Client, Fault> {
        match given {
            None | Some("") => Ok(self.client.clone()),
            Some(given) => given.parse().map_err(|err| Fault::invalid(pointer, format!("{err}"))),
        }
    }

    /// The source of an event that names none.
    pub fn own_source(&self) -> String {
        self.source.map_or_else(|| format!("/{}", self.principal), str::to_owned)
    }

    /// Gives the event its identity and its trace, by the order of
    /// [`crate::identity`].
    pub(super) fn complete(&self, draft: Draft) -> Incoming {
        let Draft {
            event_type,
            client,
            source,
            key,
            time,
            trace,
            attempt,
            cause,
            produced,
            content,
            origin,
            data,
        } = draft;
        let requested = || {
            let request = self.request?;
            Some(EventId(
                request.index.map_or(request.id, |index| identity::row_id(EventId(request.id), index)),
            ))
        };
        let messaged = || {
            let id = self.message_id.filter(|id| !id.is_empty())?;
            Some(identity::message_id(&client, &source, id))
        };
        let derived = produced.or_else(requested).or_else(messaged).or(content);
        let id = derived.unwrap_or(EventId(self.new_id));
        let trace = trace
            .or_else(|| self.traceparent.and_then(parse_traceparent).map(TraceId::from_uuid))
            .unwrap_or_else(|| identity::derived_trace(id));
        let event = Event {
            id,
            event_type,
            source,
            client,
            key,
            time,
            trace,
            attempt,
            cause,
            accepted_at: self.now,
            principal: self.principal.to_owned(),
            may_order: false,
            depth: 0,
            import: None,
            origin,
            data,
        };
        Incoming { event, named: derived.is_some() }
    }
}
