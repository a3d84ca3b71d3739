//! The broker NATS JetStream, filling the contract of [`orderwire_broker`].
//!
//! **One stream** (`ORDERWIRE`) keeps what is on its way, in files. Its subjects:
//!
//! | subject | what |
//! |---|---|
//! | `orderwire.events.<type>` | a message to every queue that takes the type; every type is a legal subject as it is |
//! | `orderwire.queue.<name>` | a message to one queue alone; a `.` in the name is written `=` |
//!
//! The stream keeps a message until every queue that takes it has acked it, and refuses new
//! ones when it is full (`discard: new`): what was confirmed is never dropped for want of
//! room, publishers hear `Unavailable` instead. What every queue has acked is removed by every
//! open broker; the server's own retention by interest does not do for that, as `sweep`
//! says. So a queue that nobody reads holds what came behind its first message: of all
//! types, if that came by a type; of what is sent to it, if that was sent by name. A message that no queue takes is confirmed and dropped; the server does not say so.
//! A stream of the name that somebody else made keeps what its own limits say.
//!
//! **A queue is a durable pull consumer** of its name (`=` for `.`) on that stream; what
//! it takes is the consumer's filter. NATS has no wildcard for "any number of words", and
//! a server before 2.10 knows but one filter for a consumer. Therefore:
//!
//! - From 2.10 on a queue is one consumer with as many filters as its patterns need. Only
//!   patterns with `#` before another word, and those that overlap, are filtered wider than
//!   asked.
//! - Before 2.10 its filter is the narrowest one that covers all its patterns, and what is
//!   sent to it by name waits at a second consumer, `<name>+named`, if it was bound to types
//!   when it was made. Messages by name and
//!   messages by type are in order each; between the two kinds only what waits when a
//!   consumer is opened is put in order.
//! - What the filter lets through and the queue does not take is acked and passed over
//!   here, so that a [`orderwire_broker::Consumer`] gets exactly what its queue takes.
//!   Other people's readers of such a consumer have to pass it over themselves.
//! - What it takes, and since when, is said in the consumer's description, because filters
//!   know no time: a type that is bound takes what comes from then on, one that is unbound
//!   leaves what came until then. The filter is narrowed once that was read.
//!
//! A consumer that others remove is made anew where it was: what came meanwhile is kept,
//! for as long as the process lives that declared it.
//!
//! **Declaring.** [`Declare::Classic`] and [`Declare::Quorum`] are the same here: how many
//! nodes hold a message is a property of the stream ([`Options::replicas`]).
//! [`Declare::Adopt`] also takes a consumer that others made under the name, as it is
//! (bindings that it lacks are added to its filter), and a stream that others made under
//! the name, in the same or in upper case letters: it is read through a consumer
//! `orderwire` of its own.
//!
//! **Durable** as far as [`orderwire_broker::Durability::Process`]: a server writes a
//! message to its file before it confirms, but synchronises the file every two minutes,
//! unless its own configuration says otherwise.
//!
//! Invariants: a message is confirmed by the stream, never by the connection; nothing
//! that arrived here is forgotten, it is acked or given back; a consumer that hears nothing
//! for longer than heartbeats allow fails; credentials are never shown.
//!
//! [`Declare::Classic`]: orderwire_broker::Declare::Classic
//! [`Declare::Quorum`]: orderwire_broker::Declare::Quorum
//! [`Declare::Adopt`]: orderwire_broker::Declare::Adopt

mod ack;
mod api;
mod bindings;
mod broker;
mod consumer;
mod durable;
mod filter;
mod link;
mod memory;
mod options;
mod publish;
mod pull;
mod subject;
mod sweep;
mod topology;
mod wire;

pub use broker::NatsBroker;
pub use options::{Login, Options};
