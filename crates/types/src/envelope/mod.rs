//! The envelope forms of an event, in and out.
//!
//! Three inputs are one event inside: message-attributes JSON (and its flat
//! sibling from broker queues), CloudEvents 1.0 (structured, batch, HTTP
//! binary mode) and plain JSON on a typed path. Each comes out again unchanged
//! in meaning, and every event can be shown in every form.
//!
//! | inside | message-attributes | flat | CloudEvents | plain |
//! |---|---|---|---|---|
//! | producer's id | – | – | `id` | – |
//! | type | `MessageAttributes.event_type.Value` | the queue's | `type` | the path's |
//! | source | `/{Metadata.publisher}/{Metadata.host}` | the transport's | `source` | the transport's |
//! | client | `client` | `client` | `client` | `client`, if a string |
//! | key | – | – | `partitionkey` | – |
//! | time | `published_on` | `published_on` | `time`, spelling in `publishedon` | – |
//! | trace | `MessageAttributes.trace_id` | `trace_id` | `traceid`, `traceparent` | `trace_id`, if a string |
//! | attempt | `retrace_intent` | `retrace_intent` | `attempt` | – |
//! | data | the rest of the object | the whole object | `data`, `data_base64` | the whole body |
//!
//! Invariants: values keep their digits, because no value is ever parsed into a
//! number and printed again; what is filled in on the way out depends on the
//! event alone; hostile input ends in a [`Fault`](crate::Fault), never in a
//! panic or deep recursion.

mod arrival;
mod binary;
mod carried;
mod cloudevents;
mod detect;
mod edited;
mod flat;
mod members;
mod message_attributes;
mod plain;
mod time;
mod trace;

pub use arrival::{Arrival, Incoming, RequestName};
pub use binary::from_binary;
pub use carried::{Carried, from_carried, to_carried};
pub use cloudevents::to_cloudevent;
pub use detect::{batch, from_json, is_flat, lines};
pub use edited::with_data;
pub use flat::{from_flat, to_flat};
pub use members::minify;
pub use message_attributes::to_message_attributes;
pub use plain::from_row;
pub use time::{parse_rfc3339, parse_time};
pub use trace::{parse_traceparent, traceparent};

pub(crate) use members::{Members, Name, escape_pointer, member_text, unquote, write_text};
pub(crate) use time::parse_csv_time;

use crate::event::Event;
use crate::queue::Format;

/// The event in the form that a queue's consumers get.
pub fn render(event: &Event, format: Format) -> String {
    match format {
        Format::Cloudevents => to_cloudevent(event),
        Format::MessageAttributes => to_message_attributes(event),
        Format::Flat => to_flat(event),
    }
}
