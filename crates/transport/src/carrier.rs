//! From the gateway to the broker.

use std::collections::HashSet;
use std::sync::Arc;

use orderwire_broker::{Broker, ErrorKind as BrokerErrorKind, HEADER_BYTES_MAX, Message, SigningKey};
use orderwire_queue::{Arrived, Error, ErrorKind, Publication, Published, Queues};
use orderwire_types::envelope::Incoming;
use orderwire_types::{Event, QueueName, Scope};

use crate::spool::Spool;
use crate::topology::Topology;

/// Publishes events through a broker, whose confirm makes them durable. What the broker
/// does not confirm is kept in the spool, if there is one with room; and while the spool
/// holds anything, all events go there, so that none overtakes another.
pub struct Carrier {
    queues: Queues,
    /// The queues that an intake feeds.
    bound: HashSet<QueueName>,
    broker: Arc<dyn Broker>,
    topology: Arc<Topology>,
    key: SigningKey,
    spool: Option<Arc<Spool>>,
}

impl Carrier {
    /// A carrier to the queues that are `bound` at the broker; those that were made since
    /// the start are not, and get their events without it. Without a spool, events are
    /// refused while the broker is away.
    pub fn new(
        queues: Queues,
        bound: HashSet<QueueName>,
        broker: Arc<dyn Broker>,
        topology: Arc<Topology>,
        key: SigningKey,
        spool: Option<Arc<Spool>>,
    ) -> Self {
        Self { queues, bound, broker, topology, key, spool }
    }

    /// As [`Queues::publish`], with these differences: the events of one publication are
    /// not durable together, and whether one was there already is not known, but its queues
    /// will take it once.
    ///
    /// # Errors
    /// As [`Queues::publish`]; `TooLarge`: one of them is more than the broker ever takes.
    /// `Unavailable`: the broker does not take them and there is no spool; `Full`: nor does
    /// the spool. With these none is there. `Unconfirmed`: some may be there.
    pub async fn publish(&self, scope: &Scope, publication: Publication) -> Result<Published, Error> {
        let Publication { events, request } = publication;
        let published = self.queues.routed(scope, &events)?;
        let events: Vec<Event> = events.into_iter().map(|Incoming { event, .. }| event).collect();
        let mut carried = Vec::with_capacity(events.len());
        for (event, to) in events.iter().zip(&published.events) {
            if to.queues.iter().any(|queue| self.bound.contains(queue)) {
                let message = self.key.message(event.clone());
                self.fits(&message)?;
                carried.push((event, message));
            }
        }
        if let Some(request) = request {
            match self.queues.remember(request).await {
                // The events have the names that the request gives them, so that they are
                // taken in once; only another body under the same name goes unnoticed.
                Err(error) if error.kind() != ErrorKind::IdempotencyConflict => {
                    tracing::warn!(%error, "the name of a request is not remembered");
                }
                outcome => outcome?,
            }
        }
        let count = carried.len();
        let waits = !self.topology.is_made() || self.spool.as_ref().is_some_and(|spool| !spool.is_empty());
        let Carriage { left, maybe_there } = if waits {
            let left = carried.into_iter().map(|(event, _)| event.clone()).collect();
            Carriage { left, maybe_there: false }
        } else {
            self.carry(carried).await?
        };
        let some = maybe_there || left.len() < count;
        self.keep(left).await.map_err(|error| unconfirmed_if(some, error))?;
        // Last, so that nothing is there when what is most likely to fail does.
        let fed = feed(&self.queues, &events, |queue| !self.bound.contains(queue)).await;
        fed.map_err(|error| unconfirmed_if(count > 0, error))?;
        Ok(published)
    }

    async fn keep(&self, events: Vec<Event>) -> Result<(), Error> {
        match &self.spool {
            _ if events.is_empty() => Ok(()),
            Some(spool) => spool.keep(events).await,
            None => Err(Error::new(ErrorKind::Unavailable, "publish: the broker does not take events")),
        }
    }

    /// Gives messages to the broker. After one that it did not take, all that are behind it
    /// are left as well, whatever became of them: they must not overtake, and come once.
    async fn carry(&self, carried: Vec<(&Event, Message)>) -> Result<Carriage, Error> {
        let (events, messages): (Vec<&Event>, Vec<Message>) = carried.into_iter().unzip();
        let mut carriage = Carriage { left: Vec::new(), maybe_there: false };
        let mut astray = Vec::new();
        let mut fault = None;
        for (event, answer) in events.into_iter().zip(self.broker.publish(messages).await) {
            match answer {
                // What the broker has no place for, and what is too large for the queue there, goes
                // the short way.
                Err(error)
                    if matches!(error.kind(), BrokerErrorKind::Unroutable | BrokerErrorKind::TooLarge) =>
                {
                    astray.push(event.clone());
                }
                Err(error) => {
                    carriage.maybe_there |= error.kind() == BrokerErrorKind::Unconfirmed;
                    carriage.left.push(event.clone());
                    fault.get_or_insert(error);
                }
                Ok(()) if fault.is_some() => {
                    carriage.maybe_there = true;
                    carriage.left.push(event.clone());
                }
                Ok(()) => {}
            }
        }
        if let Some(fault) = fault {
            tracing::warn!(error = %fault, events = carriage.left.len(), "the broker did not take events");
        }
        feed(&self.queues, &astray, |_| true).await.map_err(|error| unconfirmed_if(true, error))?;
        Ok(carriage)
    }

    /// # Errors
    /// `TooLarge`: the broker can never take the message.
    fn fits(&self, message: &Message) -> Result<(), Error> {
        let body_max = self.broker.capabilities().body_bytes_max;
        let (body, headers) = (message.body.len(), message.header_bytes());
        if body <= body_max && headers <= HEADER_BYTES_MAX {
            return Ok(());
        }
        let message = format!(
            "publish: the event has {body} bytes and {headers} beside its data, the broker takes at most \
             {body_max} and {HEADER_BYTES_MAX}"
        );
        Err(Error::new(ErrorKind::TooLarge, message))
    }
}

/// What became of events that were given to the broker.
struct Carriage {
    /// Those that it is not responsible for, in order.
    left: Vec<Event>,
    /// Whether some of these may be there all the same.
    maybe_there: bool,
}

/// The error of a publication of which something is durable, or may be.
fn unconfirmed_if(some: bool, error: Error) -> Error {
    if some && error.kind() != ErrorKind::Unconfirmed {
        return Error::new(
            ErrorKind::Unconfirmed,
            format!("{error}; others of the same request may be there"),
        );
    }
    error
}

/// Puts events straight on those of their queues that are chosen: where no intake would
/// bring them. Each is taken in once, however often this is tried.
pub(crate) async fn feed(
    queues: &Queues,
    events: &[Event],
    chosen: impl Fn(&QueueName) -> bool,
) -> Result<(), Error> {
    let mut by_queue: Vec<(QueueName, Vec<Arrived>)> = Vec::new();
    for event in events {
        for queue in queues.route(&event.event_type).into_iter().filter(|queue| chosen(queue)) {
            let incoming = Incoming { event: event.clone(), named: true };
            let arrived = Arrived { incoming, rejected: None };
            match by_queue.iter_mut().find(|(name, _)| *name == queue) {
                Some((_, all)) => all.push(arrived),
                None => by_queue.push((queue, vec![arrived])),
            }
        }
    }
    for (queue, arrived) in by_queue {
        queues.arrive(&queue, &arrived).await?;
    }
    Ok(())
}
