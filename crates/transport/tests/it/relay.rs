//! From a queue to other people's consumers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use orderwire_broker::{Broker, Received};
use orderwire_queue::Publication;
use orderwire_transport::Relay;
use orderwire_types::queue::Format;
use orderwire_worker::{TaskOptions, TaskWorker};

use crate::world::{ROLE, World, binding, incoming, name, scope};

/// Hands on what the queue `own` gets.
fn relay(world: &World) -> tokio::task::JoinHandle<()> {
    let relay = Relay::new(world.broker.clone(), binding("own", &[]), Format::Cloudevents, None);
    let worker =
        TaskWorker::new(world.queues.clone(), name("own"), ROLE, Arc::new(relay), TaskOptions::default());
    tokio::spawn(worker.run(std::future::pending()))
}

async fn publish(world: &World, n: usize) {
    let events = vec![incoming(n, "own.sold")];
    world.queues.publish(&scope(), Publication { events, request: None }).await.unwrap();
}

async fn received(world: &World, count: usize) -> Vec<Received> {
    let broker = world.place.broker();
    let mut consumer = broker.consume(&binding("own", &[]), 10).await.unwrap();
    let mut all = Vec::new();
    while all.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(300), consumer.next(10)).await;
        all.extend(next.unwrap_or_else(|_| panic!("only {} of {count} came", all.len())).unwrap());
    }
    all
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_away_uses_up_no_attempts() {
    let world = World::made(0).await;
    world.broker.declare(&binding("own", &[])).await.unwrap();
    world.broker.is_away.store(true, Ordering::SeqCst);
    let relay = relay(&world);
    publish(&world, 1).await;
    publish(&world, 2).await;
    // Longer than all attempts with their pauses.
    // tidy: sleep because time is paused
    tokio::time::sleep(Duration::from_secs(24 * 3_600)).await;
    let state = world.state("own").await;
    assert_eq!((state.dead, state.ready + state.in_flight), (0, 2));
    world.broker.is_away.store(false, Ordering::SeqCst);
    let came = received(&world, 2).await;
    let ids: Vec<_> = came.iter().map(|message| message.id.clone().unwrap()).collect();
    assert_eq!(ids, [1, 2].map(|n| incoming(n, "own.sold").event.id.to_string()));
    relay.abort();
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_somebody_removed_is_made_anew() {
    let world = World::made(0).await;
    let relay = relay(&world);
    publish(&world, 1).await;
    // Nobody declared it: until the relay does, there is nothing to consume from.
    let made = async {
        while world.place.broker().consume(&binding("own", &[]), 1).await.is_err() {
            // tidy: sleep because time is paused
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), made).await.unwrap();
    assert_eq!(received(&world, 1).await.len(), 1);
    relay.abort();
}
