//! Which queues exist, and which of them take an event.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use metrics::Counter;
use orderwire_types::queue::{Key, Kind, QueueDef};
use orderwire_types::{Event, EventType, QueueName};
use tokio::sync::watch;

use crate::engine::LaneKey;
use crate::holders::Holders;
use crate::wake::Gate;

/// The queues that an event type goes to, in order of name.
pub(crate) type Route = Arc<[Arc<Queue>]>;

/// One queue with what the process knows of it.
pub(crate) struct Queue {
    pub(crate) name: QueueName,
    pub(crate) def: QueueDef,
    /// What outlives a change of the definition.
    pub(crate) live: Arc<Live>,
}

/// The part of a queue that outlives a change of its definition.
pub(crate) struct Live {
    pub(crate) gate: Gate,
    pub(crate) holders: Holders,
    pub(crate) published: Counter,
    pub(crate) acked: Counter,
    pub(crate) returned: Counter,
    pub(crate) dead: Counter,
    /// Whether it is paused, as far as this process knows.
    pub(crate) paused: watch::Sender<bool>,
    waiting: AtomicU64,
}

/// The queues that exist, with their routes. Replaced as a whole when a
/// definition changes, so that no remembered route is ever stale.
#[derive(Default)]
pub(crate) struct Catalog {
    queues: HashMap<QueueName, Arc<Queue>>,
    routes: RwLock<HashMap<EventType, Route>>,
    routes_max: usize,
}

impl Catalog {
    /// The catalog of these definitions; keeps the live part of queues that
    /// `self` knows already.
    pub(crate) fn updated(&self, definitions: Vec<(QueueName, QueueDef)>, routes_max: usize) -> Self {
        let queues = definitions.into_iter().map(|(name, def)| {
            let live = match self.queues.get(&name) {
                Some(known) => Arc::clone(&known.live),
                None => Arc::new(Live::new(&name)),
            };
            (name.clone(), Arc::new(Queue { name, def, live }))
        });
        Self { queues: queues.collect(), routes: RwLock::default(), routes_max }
    }

    /// Every queue with its settings, by name.
    pub(crate) fn definitions(&self) -> Vec<(QueueName, QueueDef)> {
        let mut all: Vec<_> =
            self.queues.values().map(|queue| (queue.name.clone(), queue.def.clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    pub(crate) fn get(&self, name: &QueueName) -> Option<&Arc<Queue>> {
        self.queues.get(name)
    }

    /// The queues whose patterns take events of this type.
    pub(crate) fn route(&self, event_type: &EventType) -> Route {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(event_type).cloned();
        if let Some(route) = known {
            return route;
        }
        let takes = |queue: &&Arc<Queue>| queue.def.types.iter().any(|pattern| pattern.matches(event_type));
        let mut route: Vec<_> = self.queues.values().filter(takes).cloned().collect();
        route.sort_by(|a, b| a.name.cmp(&b.name));
        let route: Route = route.into();
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        // Types are chosen by producers: forgetting all at the bound is rare
        // where they are few, and harmless where someone invents them.
        if routes.len() >= self.routes_max {
            routes.clear();
        }
        routes.insert(event_type.clone(), Arc::clone(&route));
        route
    }
}

impl Queue {
    /// The lane of an event in this queue.
    pub(crate) fn lane(&self, event: &Event) -> LaneKey {
        match (self.def.kind, self.def.key) {
            (Kind::Stream, _) => LaneKey::Stream,
            (Kind::Task, Key::Partitionkey) => LaneKey::Key(event.order_key().to_owned()),
            (Kind::Task, Key::Client) => LaneKey::Key(event.client.as_str().to_owned()),
            (Kind::Task, Key::None) => LaneKey::Alone,
        }
    }

    /// An event arrived: whoever holds its lane may want more of it.
    pub(crate) fn tell_holder(&self, event: &Event) {
        self.live.holders.arrived(&event.client, || self.lane(event));
    }
}

impl Live {
    fn new(name: &QueueName) -> Self {
        let settled = |outcome: &'static str| metrics::counter!("orderwire_queue_settled_total", "queue" => name.to_string(), "outcome" => outcome);
        Self {
            gate: Gate::default(),
            holders: Holders::default(),
            published: metrics::counter!("orderwire_queue_published_total", "queue" => name.to_string()),
            acked: settled("acked"),
            returned: settled("returned"),
            dead: settled("dead"),
            paused: watch::Sender::new(false),
            waiting: AtomicU64::new(0),
        }
    }

    /// About how many unsettled events the queue holds: what the engine said
    /// last, and what came and went since then through this process.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.paused.send_if_modified(|known| std::mem::replace(known, paused) != paused);
    }

    pub(crate) fn set_waiting(&self, count: u64) {
        self.waiting.store(count, Ordering::Relaxed);
    }

    pub(crate) fn arrived(&self, count: u64) {
        self.waiting.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn left(&self, count: u64) {
        let less = |waiting: u64| Some(waiting.saturating_sub(count));
        let _ = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(routes_max: usize) -> Catalog {
        Catalog::default().updated(orderwire_types::queue::default_queues(), routes_max)
    }

    fn names(catalog: &Catalog, event_type: &str) -> Vec<String> {
        catalog.route(&event_type.parse().unwrap()).iter().map(|queue| queue.name.to_string()).collect()
    }

    #[test]
    fn events_go_to_every_queue_that_takes_their_type() {
        let catalog = catalog(8);
        assert_eq!(names(&catalog, "orderwire.order.requested"), ["infra", "status"]);
        assert_eq!(names(&catalog, "orderwire.rows.air"), ["data"]);
        assert_eq!(names(&catalog, "nobody.takes.this"), [""; 0]);
    }

    #[test]
    fn remembered_routes_are_bounded_and_right() {
        let catalog = catalog(3);
        for round in 0..2 {
            for i in 0..10 {
                assert_eq!(names(&catalog, &format!("orderwire.rows.d{i}")), ["data"], "round {round}");
            }
        }
        assert!(catalog.routes.read().unwrap().len() <= 3);
    }
}
