//! Nodes: each with the scheduler over an engine of its own, all on one database.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use orderwire_queue::{Clock, Delivery, Error, LeaseRequest, Options, Publication, Queues};
use orderwire_types::envelope::Incoming;
use orderwire_types::{Data, Event, EventId, Scope, TraceId};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::support::{name, open, queues};

/// A node. It is gone with the value, without a word.
pub(crate) struct Node {
    pub(crate) queues: Queues,
    _service: AbortOnDropHandle<()>,
}

impl Node {
    pub(crate) async fn open(url: &str) -> Self {
        let engine = Arc::new(open(url).await);
        let opened =
            Queues::open(engine, queues(), HashMap::new(), Options::for_testing(), Clock::system()).await;
        let (queues, service) = opened.unwrap();
        let service = AbortOnDropHandle::new(tokio::spawn(service.run(std::future::pending())));
        Self { queues, _service: service }
    }

    /// Publishes an event of this type, client and key; the key is its source, too.
    pub(crate) async fn publish(&self, event_type: &str, client: &str, key: &str) -> Result<EventId, Error> {
        let incoming = event(event_type, client, key);
        let id = incoming.event.id;
        self.queues.publish(&all(), Publication::of(incoming)).await.map(|_| id)
    }

    /// Leases up to so many of a queue.
    pub(crate) async fn lease(
        &self,
        queue: &str,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<Delivery>, Error> {
        self.queues.lease(&all(), &name(queue), LeaseRequest { max, lease, wait }).await
    }
}

/// An event that was named.
pub(crate) fn event(event_type: &str, client: &str, key: &str) -> Incoming {
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    let id = EventId(Uuid::from_u128(u128::from(SERIAL.fetch_add(1, Ordering::Relaxed))));
    let event = Event {
        id,
        event_type: event_type.parse().unwrap(),
        source: key.to_owned(),
        client: client.parse().unwrap(),
        key: Some(key.to_owned()),
        time: None,
        trace: TraceId::from_uuid(id.0),
        attempt: None,
        cause: None,
        accepted_at: Timestamp::now(),
        principal: "test".to_owned(),
        may_order: false,
        depth: 0,
        import: None,
        origin: orderwire_types::Origin::Plain,
        data: Data::None,
    };
    Incoming { event, named: true }
}

/// The event of a delivery.
pub(crate) fn decoded(delivery: &Delivery) -> Event {
    Event::decode(&delivery.body).unwrap()
}

/// Everything, as a consumer from outside.
pub(crate) fn all() -> Scope {
    Scope::internal("key:1")
}
