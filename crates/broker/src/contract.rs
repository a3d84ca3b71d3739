//! What every broker promises.

use async_trait::async_trait;
use orderwire_types::queue::Declare;
use orderwire_types::{Pattern, QueueName};

use crate::capabilities::Capabilities;
use crate::error::Error;
use crate::message::{Message, Received, Tag};

/// A queue as the broker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueBinding {
    /// Its name, which is its name at the broker, too.
    pub name: QueueName,
    /// The types that it is bound to; none: it gets only what is sent to it by name.
    pub types: Vec<Pattern>,
    /// How it comes to be.
    pub declare: Declare,
}

/// A transport.
///
/// Calls may come from many tasks at once. Every call ends within the time-out of the
/// broker's options, also when the other side says nothing. A connection that ended is
/// made anew by the broker itself, with growing pauses and without end; until then calls
/// fail as `Unavailable`, at once or after the time-out.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// What other people's code calls a queue at this broker: its name, unless said otherwise.
    fn address(&self, queue: &QueueName) -> String {
        queue.to_string()
    }

    /// Makes a queue exist, bound to its types. Again for what is there already
    /// changes nothing but bindings that are new; those that the last declaration of the
    /// same process asked for, and this one does not, are taken away.
    ///
    /// # Errors
    /// `Conflict`: it exists with other arguments, which the message names, with what
    /// to do. `Refused`, `Unavailable`.
    async fn declare(&self, queue: &QueueBinding) -> Result<(), Error>;

    /// Takes bindings away from a queue, which keeps what is in it: those of an earlier
    /// configuration. What is not bound, or not there, is no error.
    ///
    /// # Errors
    /// `Refused`, `Unavailable`.
    async fn unbind(&self, queue: &QueueName, types: &[Pattern]) -> Result<(), Error>;

    /// Publishes messages in order. One answer each, in order: `Ok` after the broker
    /// confirmed that it is responsible for the message, as durably as
    /// [`Capabilities::durability`] says. One that can never be
    /// taken fails no other; those behind one that failed in another way may be there
    /// although it is not.
    ///
    /// # Errors
    /// Each: `TooLarge`, `Unroutable`, `Unavailable`, `Unconfirmed`, `Refused`.
    async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), Error>>;

    /// Opens a consumer of a declared queue. Several consumers of a queue, also of
    /// several processes, share its messages: each message is with one of them.
    /// `prefetch`: how many messages the consumer may hold unacked; the broker sends no
    /// more until some are acked.
    ///
    /// # Errors
    /// `Conflict` when the queue does not exist, `Refused`, `Unavailable`.
    async fn consume(&self, queue: &QueueBinding, prefetch: u16) -> Result<Box<dyn Consumer>, Error>;

    /// Whether it is connected, and takes messages.
    ///
    /// # Errors
    /// Why not, in plain words for an operator.
    async fn check(&self) -> Result<(), Error>;

    /// Ends every connection in good order, within the time-out. Consumers fail from
    /// then on; what they held unacked is redelivered to others.
    async fn close(&self);
}

/// A stream of messages. Dropped, it gives back what is not acked.
///
/// After any error a consumer is of no use any more: what it held unacked is
/// redelivered, and a new one is opened.
#[async_trait]
pub trait Consumer: Send {
    /// Waits for a message; then takes with it those that are there already, `max`
    /// together, in order. Dropped before it is ready, it has taken nothing. It waits
    /// for as long as nothing comes, and fails when the connection ends or the other side
    /// is silent for longer than heartbeats allow, and, where the broker tells of it, when
    /// its queue is deleted.
    ///
    /// # Errors
    /// `Unavailable`, `Refused`.
    async fn next(&mut self, max: usize) -> Result<Vec<Received>, Error>;

    /// The consumer is done with these messages, which do not come again once the ack
    /// has reached the broker. An ack that is lost is a redelivery, never a loss.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn ack(&mut self, tags: &[Tag]) -> Result<(), Error>;

    /// Gives messages back, to be redelivered to any consumer of the queue.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn give_back(&mut self, tags: &[Tag]) -> Result<(), Error>;
}
