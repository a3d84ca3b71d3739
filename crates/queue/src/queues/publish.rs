//! Events in.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use orderwire_types::envelope::Incoming;
use orderwire_types::{Event, EventId, EventType, QueueName, Scope, TraceId};

use super::{Queues, single, wrong_outcome};
use crate::catalog::{Queue, Route};
use crate::engine::{Append, NamedRequest, NewEntry, Op, Outcome};
use crate::error::{Error, ErrorKind};

/// Events that become durable together or not at all.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The events, in order.
    pub events: Vec<Incoming>,
    /// The request's identity, when its caller named it (`Idempotency-Key`).
    pub request: Option<NamedRequest>,
}

impl Publication {
    /// One event of a request without a name.
    pub fn of(event: Incoming) -> Self {
        Self { events: vec![event], request: None }
    }
}

/// What was published.
#[derive(Clone, Debug)]
pub struct Published {
    /// One per event, in order.
    pub events: Vec<PublishedEvent>,
}

/// One event that is durable now, or was already.
#[derive(Clone, Debug)]
pub struct PublishedEvent {
    /// Its id.
    pub event_id: EventId,
    /// Its trace.
    pub trace: TraceId,
    /// The queues that took it, in order of name.
    pub queues: Vec<QueueName>,
    /// Whether it was there already, so that nothing was appended now.
    pub duplicate: bool,
}

impl Queues {
    /// The queues that events of this type go to, in order of name.
    pub fn route(&self, event_type: &EventType) -> Vec<QueueName> {
        self.inner.catalog().route(event_type).iter().map(|queue| queue.name.clone()).collect()
    }

    /// Puts events on every queue that takes them, durably, in one commit.
    ///
    /// # Errors
    /// - `Unroutable`: no queue takes one of them; its index (from 0) and type
    ///   are in the message. Nothing was published.
    /// - `NotFound`: the client of one of them is outside the scope.
    /// - `Full`: one of the queues holds its maximum.
    /// - `IdempotencyConflict`: the request's name was used with another body.
    pub async fn publish(&self, scope: &Scope, publication: Publication) -> Result<Published, Error> {
        let Publication { events, request } = publication;
        let routes = self.routes(scope, &events)?;
        let arriving = count(&routes);
        self.check_room(&arriving).await?;

        let new = self.append(&events, &routes, request).await?;
        let published =
            events.into_iter().zip(routes).zip(new).map(|((incoming, route), new)| PublishedEvent {
                event_id: incoming.event.id,
                trace: incoming.event.trace,
                queues: route.iter().map(|queue| queue.name.clone()).collect(),
                duplicate: !new,
            });
        Ok(Published { events: published.collect() })
    }

    /// What [`Queues::publish`] would answer, without publishing: for events that reach
    /// their queues another way.
    ///
    /// # Errors
    /// `Unroutable` and `NotFound` as for [`Queues::publish`].
    pub fn routed(&self, scope: &Scope, events: &[Incoming]) -> Result<Published, Error> {
        let routes = self.routes(scope, events)?;
        let published = events.iter().zip(routes).map(|(incoming, route)| PublishedEvent {
            event_id: incoming.event.id,
            trace: incoming.event.trace.clone(),
            queues: route.iter().map(|queue| queue.name.clone()).collect(),
            duplicate: false,
        });
        Ok(Published { events: published.collect() })
    }

    /// Remembers the name of a request whose events reach their queues another way.
    ///
    /// # Errors
    /// `IdempotencyConflict`: the name was used with another body.
    pub async fn remember(&self, request: NamedRequest) -> Result<(), Error> {
        self.append(&[], &[], Some(request)).await.map(drop)
    }

    /// The queues of each event.
    fn routes(&self, scope: &Scope, events: &[Incoming]) -> Result<Vec<Route>, Error> {
        let catalog = self.inner.catalog();
        let mut routes = Vec::with_capacity(events.len());
        for (index, Incoming { event, .. }) in events.iter().enumerate() {
            covered(scope, index, event)?;
            let route = catalog.route(&event.event_type);
            if route.is_empty() {
                return Err(Error::new(
                    ErrorKind::Unroutable,
                    format!("publish event {index}: no queue takes the type {}", event.event_type),
                ));
            }
            routes.push(route);
        }
        Ok(routes)
    }

    /// Puts events, durably and in one commit, on those of their queues that have room:
    /// for what is told to whoever wants to know, where a queue that nobody empties
    /// must not keep it from the others. What no queue takes is dropped. How many
    /// events each full queue did not get.
    ///
    /// # Errors
    /// `NotFound` as for [`Queues::publish`]; otherwise the storage is away, and
    /// nothing was published.
    pub async fn publish_where_room(
        &self,
        scope: &Scope,
        events: Vec<Incoming>,
    ) -> Result<BTreeMap<QueueName, u64>, Error> {
        let catalog = self.inner.catalog();
        let mut routes = Vec::with_capacity(events.len());
        for (index, Incoming { event, .. }) in events.iter().enumerate() {
            covered(scope, index, event)?;
            routes.push(catalog.route(&event.event_type));
        }
        let mut room = BTreeMap::new();
        for (queue, arriving) in count(&routes) {
            room.insert(queue.name.clone(), self.room(&queue, arriving).await?);
        }
        let mut missed = BTreeMap::new();
        let mut fits = |queue: &&Arc<Queue>| match room.get_mut(&queue.name) {
            Some(room) if *room > 0 => {
                *room -= 1;
                true
            }
            _ => {
                *missed.entry(queue.name.clone()).or_default() += 1;
                false
            }
        };
        let routes = routes.iter().map(|route| route.iter().filter(&mut fits).cloned().collect());
        let (events, routes): (Vec<Incoming>, Vec<Route>) =
            events.into_iter().zip(routes).filter(|(_, route): &(_, Route)| !route.is_empty()).unzip();
        if !events.is_empty() {
            self.append(&events, &routes, None).await?;
        }
        Ok(missed)
    }

    /// Appends events; which of them were new.
    async fn append(
        &self,
        events: &[Incoming],
        routes: &[Route],
        request: Option<NamedRequest>,
    ) -> Result<Vec<bool>, Error> {
        let entries = events.iter().zip(routes).map(|(event, route)| entry(event, route)).collect();
        let answer = self.inner.committer.submit(vec![Op::Append(Append { entries, request })]).await?;
        let Outcome::Appended(new) = single(answer)? else { return Err(wrong_outcome()) };
        if new.len() != events.len() {
            return Err(wrong_outcome());
        }
        let appended = routes.iter().zip(&new).filter(|(_, new)| **new).map(|(route, _)| route);
        for (queue, arrived) in count(appended) {
            queue.live.arrived(arrived);
            queue.live.published.increment(arrived);
        }
        for ((incoming, route), _) in events.iter().zip(routes).zip(&new).filter(|(_, new)| **new) {
            for queue in route.iter() {
                queue.tell_holder(&incoming.event);
            }
        }
        Ok(new)
    }

    /// Whether every queue has room.
    pub(super) async fn check_room(&self, arriving: &[(Arc<Queue>, u64)]) -> Result<(), Error> {
        for (queue, count) in arriving {
            if self.room(queue, *count).await? < *count {
                let (waiting, max) = (queue.live.waiting(), self.inner.options.queue_events);
                return Err(Error::new(
                    ErrorKind::Full,
                    format!("publish: queue {} holds {waiting} events, at most {max} are taken", queue.name),
                ));
            }
        }
        Ok(())
    }

    /// How many more events a queue takes, of which this many arrive. The running
    /// count may be too high (what a stream's reader is done with is not counted one
    /// by one), so the engine is asked before anything is refused.
    async fn room(&self, queue: &Queue, arriving: u64) -> Result<u64, Error> {
        let max = self.inner.options.queue_events;
        let about = max.saturating_sub(queue.live.waiting());
        if arriving <= about {
            return Ok(about);
        }
        let state = self.inner.read("publish", self.inner.engine.state(&queue.name)).await?;
        let waiting = state.ready + state.in_flight + state.delayed;
        queue.live.set_waiting(waiting);
        Ok(max.saturating_sub(waiting))
    }
}

/// # Errors
/// `NotFound`: the client of the event is outside the scope.
fn covered(scope: &Scope, index: usize, event: &Event) -> Result<(), Error> {
    if scope.covers(&event.client) {
        return Ok(());
    }
    let message = format!("publish event {index}: client {} does not exist", event.client);
    Err(Error::new(ErrorKind::NotFound, message))
}

pub(super) fn entry(incoming: &Incoming, route: &[Arc<Queue>]) -> NewEntry {
    let event = &incoming.event;
    NewEntry {
        event_id: event.id,
        remembered: incoming.named.then_some(event.id.0),
        event_type: event.event_type.clone(),
        client: event.client.clone(),
        trace: event.trace.id,
        accepted_at: event.accepted_at,
        principal: event.principal.clone(),
        queues: route.iter().map(|queue| (queue.name.clone(), queue.lane(event))).collect(),
        body: Bytes::from(event.encode()),
    }
}

/// How many of the events go to each queue.
fn count<'a>(routes: impl IntoIterator<Item = &'a Route>) -> Vec<(Arc<Queue>, u64)> {
    let mut counts: Vec<(Arc<Queue>, u64)> = Vec::new();
    for queue in routes.into_iter().flat_map(|route| route.iter()) {
        match counts.iter_mut().find(|(other, _)| Arc::ptr_eq(other, queue)) {
            Some((_, count)) => *count += 1,
            None => counts.push((Arc::clone(queue), 1)),
        }
    }
    counts
}
