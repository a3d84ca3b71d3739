//! What stands for a message that is no event.

use orderwire_types::envelope::{Arrival, Incoming};
use orderwire_types::{Data, Event, EventId, EventType, Origin, RawJson, identity, json};

/// How much of a message that is too large is kept with its dead letter, in bytes.
pub(crate) const KEPT_OF_TOO_LARGE: usize = 64 << 10;
/// The type of a message that says none.
const UNKNOWN: &str = "unknown";

/// The event that stands for a message that is none: of no client that it may name,
/// without any right, its bytes as its data. It does not have the identity of the message, which
/// its producer may mend and send again.
pub(crate) fn unusable(event_type: Option<EventType>, body: &[u8], arrival: Arrival<'_>) -> Incoming {
    let limits = arrival.limits;
    let source = arrival.own_source();
    let named = arrival.message_id.filter(|id| !id.is_empty());
    let id = named.map_or(EventId(arrival.new_id), |id| {
        identity::rejected_id(identity::message_id(&arrival.client, &source, id), body)
    });
    let is_small = body.len() <= limits.body_bytes;
    let body = &body[..if is_small { body.len() } else { body.len().min(KEPT_OF_TOO_LARGE) }];
    let text = std::str::from_utf8(body).ok();
    let text = text.filter(|text| json::nests_at_most(text.as_bytes(), limits.json_depth));
    let json = text.and_then(|text| RawJson::parse(text.trim().to_owned()).ok());
    let event = Event {
        id,
        event_type: event_type.unwrap_or_else(|| UNKNOWN.parse().expect("a valid type")),
        source,
        client: arrival.client,
        key: None,
        time: None,
        trace: identity::derived_trace(id),
        attempt: None,
        cause: None,
        accepted_at: arrival.now,
        principal: arrival.principal.to_owned(),
        may_order: false,
        depth: 0,
        import: None,
        origin: Origin::Plain,
        data: json.map_or_else(|| Data::of_bytes(body), Data::Json),
    };
    Incoming { event, named: named.is_some() }
}
