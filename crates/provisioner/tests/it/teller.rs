//! Changes of orders told through real queues, and swept.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;
use orderwire_provisioner::{Parts, Publisher};
use orderwire_queue::{Options, Queues};
use orderwire_sqlite::{DataDir, SqliteQueue};
use orderwire_store::Orders as _;
use orderwire_store::orders::{NewOrder, Order};
use orderwire_types::envelope::Incoming;
use orderwire_types::queue::QueueDef;
use orderwire_types::{Event, OrderState, QueueName};
use serde_json::json;

use crate::log::Log;
use crate::reconcile_world::{World, scope};

/// The longest that a test waits for anything.
const LONGEST: Duration = Duration::from_secs(60);

/// Real queues as a publisher, as the server has them.
struct Telling(Queues);

#[async_trait]
impl Publisher for Telling {
    async fn publish(&self, events: Vec<Event>) -> Result<(), String> {
        let events = events.into_iter().map(|event| Incoming { event, named: true }).collect();
        let told = self.0.publish_where_room(&scope(), events).await;
        told.map(drop).map_err(|error| error.to_string())
    }
}

/// Queues that take this many events each.
async fn queues(folder: &tempfile::TempDir, world: &World, queue_events: u64) -> Queues {
    let dir = DataDir::open(folder.path()).unwrap();
    let engine = Arc::new(SqliteQueue::open(&dir, &orderwire_sqlite::Options::for_testing()).unwrap());
    let queue = |name: &str, types: &str| {
        let def: QueueDef = serde_json::from_value(json!({"types": [types]})).unwrap();
        (name.parse::<QueueName>().unwrap(), def)
    };
    let configured = vec![
        queue("clients", "orderwire.client.changed"),
        queue("mine", "orderwire.order.ready"),
        queue("status", "orderwire.order.#"),
    ];
    let options = Options { queue_events, ..Options::for_testing() };
    let (queues, service) =
        Queues::open(engine, configured, HashMap::new(), options, world.clock.clone()).await.unwrap();
    tokio::spawn(service.run(std::future::pending()));
    queues
}

async fn waiting(queues: &Queues, queue: &str) -> u64 {
    queues.state(&scope(), &queue.parse().unwrap()).await.unwrap().ready
}

/// Waits for what nothing announces.
async fn until(what: &str, look: impl AsyncFn() -> bool) {
    let found = async {
        while !look().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONGEST, found).await.unwrap_or_else(|_| panic!("it did not come to pass: {what}"));
}

async fn all_told(world: &World) {
    until("all is told", async || world.store.untold(1).await.unwrap().is_empty()).await;
}

#[tokio::test]
async fn a_queue_that_nobody_empties_keeps_nothing_from_the_others() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let queues = queues(&folder, &world, 3).await;
    let publisher = Arc::new(Telling(queues.clone()));
    let parts = Parts { publisher, ..world.parts(world.dying(None)) };
    let running = World::start_on(parts, World::options());
    for client in ["acme", "bolt", "coil"] {
        let order = Order {
            client: client.parse().unwrap(),
            namespace: client.to_owned(),
            ..world.order("rollback", "ready")
        };
        let order = world.accept(order).await;
        assert_eq!(world.finished(order.id).await.state, OrderState::Ready);
    }
    all_told(&world).await;
    assert_eq!(waiting(&queues, "status").await, 3, "as many as it takes");
    assert_eq!(waiting(&queues, "mine").await, 3, "every order that got ready");
    assert_eq!(waiting(&queues, "clients").await, 3, "every client");
    running.stop().await;
}

#[tokio::test]
async fn a_sweep_goes_on_until_nothing_is_left() {
    let world = World::new();
    let failed = |_| {
        let order = Order {
            state: OrderState::Failed,
            reason: Some("for this test".to_owned()),
            ..world.order("rollback", "ready")
        };
        world.store.accept(NewOrder { order, record_refused: false, steps: Vec::new() })
    };
    for _ in 0..5 {
        try_join_all((0..500).map(failed)).await.unwrap();
    }
    let running = world.start();
    all_told(&world).await;
    world.time.advance(World::options().retention + World::options().sweep);
    let nothing =
        async || world.store.orders(&scope(), &Default::default(), None, 1).await.unwrap().is_empty();
    until("every order is swept", nothing).await;
    running.stop().await;
}

#[tokio::test]
async fn changes_that_are_given_up_are_said_to_be() {
    let log = Log::here();
    let world = World::new();
    world.told.failing.store(true, Ordering::SeqCst);
    let running = world.start();
    // The store forgets by the clock of this machine, which is ahead of the test's.
    let order = world.ordered("rollback", "ready").await;
    assert_eq!(order.state, OrderState::Ready);
    world.time.advance(World::options().sweep);
    all_told(&world).await;
    running.stop().await;
    let lines = log.lines();
    assert!(lines.iter().any(|line| line.to_string().contains("are given up")), "{lines:?}");
}
