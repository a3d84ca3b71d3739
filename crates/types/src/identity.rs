//! Identity: which inputs are the same event. Pure derivations, no memory.
//!
//! Every derived id is a UUID of version 5 whose name begins with a word for
//! the rule and holds each part behind its length, so that neither two rules
//! nor two ways of cutting the same text into parts ever give one id.
//!
//! Where several rules apply to one event, the first of these names it:
//!
//! 1. the producer's CloudEvents `id` ([`produced_id`]), whichever request brings
//!    the event;
//! 2. the request's `Idempotency-Key` ([`request_id`]);
//! 3. the AMQP message id ([`message_id`]);
//! 4. for message-attributes with a trace id of their own, the content
//!    ([`content_id`]).
//!
//! Orderwire's own events have rules of their own ([`own_id`], [`emitted_id`]), so that
//! nothing that a producer sends can have the id of one.

use sha2::{Digest, Sha256};
use uuid::{Uuid, uuid};

use crate::ids::{EventId, TraceId};
use crate::names::{Client, QueueName};

/// The namespace of trace ids mapped from producers' spellings.
pub const TRACE_NAMESPACE: Uuid = uuid!("6f72d1c6-8c0f-5f3d-9a55-74726163652e");

/// The namespace of everything else that is derived here. Part of the storage
/// format: another value would make every remembered event look new.
pub const NAMESPACE: Uuid = uuid!("6f72d1c6-8c0f-5f3d-9a55-6576656e742e");

/// The name of a request: of the principal, the route (method and path as
/// matched, for example `POST /v1/events`) and its `Idempotency-Key`.
pub fn request_id(principal: &str, route: &str, key: &str) -> Uuid {
    derive("request", &[principal.as_bytes(), route.as_bytes(), key.as_bytes()])
}

/// The identity of an event that its producer named: of (client, source, `id`).
pub fn produced_id(client: &Client, source: &str, id: &str) -> EventId {
    EventId(derive("id", &[client.as_str().as_bytes(), source.as_bytes(), id.as_bytes()]))
}

/// The identity of an event that came with an AMQP message id. Client and
/// source belong to it, because many publishers merely count their messages.
pub fn message_id(client: &Client, source: &str, id: &str) -> EventId {
    EventId(derive("message", &[client.as_str().as_bytes(), source.as_bytes(), id.as_bytes()]))
}

/// The identity of what stands for a message that can never be an event: of (what its message
/// id names, its bytes). A message that was mended and is sent again under the same message id is
/// another one; the same message again is not.
pub fn rejected_id(named: EventId, body: &[u8]) -> EventId {
    let sha256: [u8; 32] = Sha256::digest(body).into();
    EventId(derive("rejected", &[named.0.as_bytes(), &sha256]))
}

/// The identity of an event by its content: of (client, source, SHA-256 of the
/// body without `retrace_intent`). The order of the members of the body, of
/// `MessageAttributes` and of `Metadata` does not change the hash, nor does white
/// space; the order of members inside a business value does, and so does
/// another escape for the same character.
pub fn content_id(client: &Client, source: &str, sha256: &[u8; 32]) -> EventId {
    EventId(derive("content", &[client.as_str().as_bytes(), source.as_bytes(), sha256]))
}

/// The identity of a piece of an imported file: of (client, dataset, SHA-256 of
/// the whole file as lower-case hex, the number of rows before the piece).
pub fn import_id(client: &Client, dataset: &str, file: &str, first: u64) -> EventId {
    let parts = [client.as_str().as_bytes(), dataset.as_bytes(), file.as_bytes(), &first.to_be_bytes()];
    EventId(derive("import", &parts))
}

/// The identity of an event of Orderwire's own: of (role, client, `name`).
pub fn own_id(role: &str, client: &Client, name: &str) -> EventId {
    EventId(derive("own", &[role.as_bytes(), client.as_str().as_bytes(), name.as_bytes()]))
}

/// The identity of an event that a rule emitted: of (the event that caused it, the name
/// of the rule, its place among what the rule emits, 0 for the first). So the same cause
/// has its effect once, however often it is delivered.
pub fn emitted_id(cause: EventId, rule: &str, index: u64) -> EventId {
    EventId(derive("emitted", &[cause.0.as_bytes(), rule.as_bytes(), &index.to_be_bytes()]))
}

/// Whether a source is one of Orderwire's own, which no producer may claim.
pub fn is_own_source(source: &str) -> bool {
    source.strip_prefix("/orderwire").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The id of a row: of its request's event id and its index, 0 for the first.
pub fn row_id(event: EventId, index: u64) -> Uuid {
    derive("row", &[event.0.as_bytes(), &index.to_be_bytes()])
}

/// The name under which one queue remembers an event that reached it through a broker,
/// where each queue gets a message of its own. It differs from the event's id in its
/// second half alone, so that names made one after the other stay neighbours.
pub fn in_queue(event: EventId, queue: &QueueName) -> Uuid {
    let (high, low) = event.0.as_u64_pair();
    let (_, mask) = derive("queue", &[queue.as_str().as_bytes()]).as_u64_pair();
    Uuid::from_u64_pair(high, low ^ mask)
}

/// The trace of an event that came without one: the same for the same event,
/// so that the answer to a repeated event needs no memory.
pub fn derived_trace(event: EventId) -> TraceId {
    TraceId::from_uuid(derive("trace", &[event.0.as_bytes()]))
}

/// The W3C parent id of an event: 16 lower-case hex digits, never all zero.
pub fn span_id(event: EventId) -> String {
    let (_, low) = derive("span", &[event.0.as_bytes()]).as_u64_pair();
    // The variant bits of a UUID lie in this half, so it cannot be zero.
    format!("{low:016x}")
}

/// A version 5 UUID of a rule's word and parts that cannot run together.
fn derive(rule: &str, parts: &[&[u8]]) -> Uuid {
    let mut name =
        Vec::with_capacity(rule.len() + 1 + parts.iter().map(|part| part.len() + 8).sum::<usize>());
    name.extend_from_slice(rule.as_bytes());
    name.push(0);
    for part in parts {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part);
    }
    Uuid::new_v5(&NAMESPACE, &name)
}

/// SHA-256 over named values, each behind its length.
#[derive(Default)]
pub(crate) struct ContentHash(Sha256);

impl ContentHash {
    pub(crate) fn update(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        let client: Client = "a".parse().unwrap();
        assert_ne!(request_id("a", "bc", "d"), request_id("ab", "c", "d"));
        assert_ne!(produced_id(&client, "/s", "1").0, message_id(&client, "/s", "1").0);
        assert_ne!(produced_id(&client, "/s1", "").0, produced_id(&client, "/s", "1").0);
        assert_ne!(own_id("/orderwire/gateway", &client, "1"), own_id("/orderwire", &client, "/gateway1"));
    }

    #[test]
    fn own_sources_are_known_and_no_others() {
        for (source, own) in [
            ("/orderwire", true),
            ("/orderwire/", true),
            ("/orderwire/gateway", true),
            ("/orderwire/x/y", true),
            ("/orderwires", false),
            ("/orderwire-shop/h", false),
            ("orderwire", false),
            ("/shop/orderwire", false),
            ("", false),
        ] {
            assert_eq!(is_own_source(source), own, "{source}");
        }
    }

    /// Stored ids depend on these derivations: a change of any is a change of
    /// the storage format.
    #[test]
    fn derivations_never_change() {
        let client: Client = "acme".parse().unwrap();
        let event = produced_id(&client, "/s", "1");
        let ids = [
            request_id("key:1", "POST /v1/events", "k").to_string(),
            event.to_string(),
            message_id(&client, "/s", "1").to_string(),
            content_id(&client, "/s", &[7; 32]).to_string(),
            row_id(event, 0).to_string(),
            derived_trace(event).to_string(),
            span_id(event),
            own_id("gateway", &client, "seen").to_string(),
            in_queue(event, &"infra".parse().unwrap()).to_string(),
            emitted_id(event, "hot", 0).to_string(),
        ];
        insta::assert_snapshot!(ids.join("\n"));
    }
}
