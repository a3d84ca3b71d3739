//! From the gateway to the queues behind the broker.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use orderwire_queue::ErrorKind;

use crate::world::{World, scope};

fn numbers(count: usize) -> Vec<usize> {
    (0..count).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_published_comes_to_every_queue_once() {
    let mut world = World::made(100).await;
    world.start();
    world.publish(0, 5).await.unwrap();
    world.publish(0, 5).await.unwrap();
    world.publish(5, 10).await.unwrap();
    for queue in ["shop", "own"] {
        assert_eq!(world.consume(queue, 10).await, numbers(10), "{queue}");
        assert_eq!(world.state(queue).await.ready, 0, "{queue}");
    }
    assert!(world.spool.as_ref().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_behind_a_message_that_was_not_taken_does_not_overtake_it() {
    let mut world = World::made(100).await;
    world.broker.is_away.store(true, Ordering::SeqCst);
    world.publish(0, 2).await.unwrap();
    world.broker.is_away.store(false, Ordering::SeqCst);
    // The drain meets it first, then the carrier.
    world.broker.fail_next_at(1);
    world.start();
    assert_eq!(world.consume("shop", 2).await, numbers(2));
    until_empty(&world).await;
    world.broker.fail_next_at(2);
    world.publish(2, 7).await.unwrap();
    world.publish(7, 9).await.unwrap();
    // Those behind it were at the broker already: what is late comes late, and once.
    assert_eq!(world.consume("shop", 7).await, [2, 3, 5, 6, 4, 7, 8]);
    until_empty(&world).await;
    assert_eq!(world.state("shop").await.ready, 0);
}

#[tokio::test(start_paused = true)]
async fn from_the_first_that_was_not_taken_on_all_of_a_request_are_kept() {
    let world = World::made(100).await;
    world.broker.fail_next_at(2);
    world.publish(0, 5).await.unwrap();
    assert_eq!(world.spool.as_ref().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn while_the_spool_holds_anything_all_goes_through_it() {
    let mut world = World::open(100).await;
    // Its queues are not made yet.
    world.publish(0, 3).await.unwrap();
    assert_eq!(world.spool.as_ref().unwrap().len(), 3);
    world.broker.is_away.store(true, Ordering::SeqCst);
    world.start();
    let making = tokio::spawn({
        let (topology, broker) = (world.topology.clone(), world.broker.clone());
        async move { topology.make(broker.as_ref()).await }
    });
    world.publish(3, 6).await.unwrap();
    world.broker.is_away.store(false, Ordering::SeqCst);
    making.await.unwrap();
    world.publish(6, 9).await.unwrap();
    assert_eq!(world.consume("shop", 9).await, numbers(9));
    until_empty(&world).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_nowhere_and_what_may_be_somewhere_is_told() {
    // Without a spool.
    let world = World::made(0).await;
    world.broker.is_away.store(true, Ordering::SeqCst);
    assert_eq!(world.publish(0, 3).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(world.state("own").await.ready, 0);
    world.broker.is_away.store(false, Ordering::SeqCst);
    world.broker.fail_next_at(1);
    assert_eq!(world.publish(0, 3).await.unwrap_err().kind(), ErrorKind::Unconfirmed);

    // With a full one.
    let world = World::made(3).await;
    world.broker.is_away.store(true, Ordering::SeqCst);
    world.publish(0, 3).await.unwrap();
    assert!(world.spool.as_ref().unwrap().is_full());
    let refused = world.publish(3, 4).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Full);
    assert!(refused.to_string().contains("broker.spool.events"), "{refused}");
    assert_eq!(world.state("own").await.ready, 3);
}

/// A queue at the broker may take less than the broker does; and there is no spool.
#[tokio::test(start_paused = true)]
async fn what_is_too_large_for_a_queue_at_the_broker_goes_the_short_way() {
    let mut world = World::made(0).await;
    world.start();
    world.broker.find_too_large_at(1);
    world.publish(0, 3).await.unwrap();
    let mut came = world.consume("shop", 3).await;
    came.sort_unstable();
    assert_eq!(came, numbers(3));
    assert_eq!(world.state("own").await.ready, 3);
}

#[tokio::test(start_paused = true)]
async fn many_at_once_are_not_more_than_the_spool_holds() {
    let world = World::made(3).await;
    world.broker.is_away.store(true, Ordering::SeqCst);
    let all = futures::future::join_all((0..10).map(|n| world.publish(n, n + 1))).await;
    assert_eq!(all.iter().filter(|answer| answer.is_ok()).count(), 3, "{all:?}");
    assert!(all.into_iter().filter_map(Result::err).all(|error| error.kind() == ErrorKind::Full));
    assert_eq!(world.spool.as_ref().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_away_leaves_no_ghost_in_the_spool() {
    let mut world = World::made(100).await;
    world.broker.is_away.store(true, Ordering::SeqCst);
    for step in 0..20 {
        // Given up after so many steps, wherever that is.
        let mut publishing = Box::pin(world.publish(step, step + 1));
        for _ in 0..step {
            if futures::poll!(&mut publishing).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let spool = Arc::clone(world.spool.as_ref().unwrap());
    let (queues, name) = spool.queues();
    let settled = async {
        while spool.len() != queues.state(&scope(), &name).await.unwrap().ready {
            tokio::task::yield_now().await;
            // tidy: sleep because what was given up ends without an event, and time is paused
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let settled = tokio::time::timeout(Duration::from_secs(60), settled).await;
    assert!(settled.is_ok(), "{} are counted that are not there", spool.len());
    world.broker.is_away.store(false, Ordering::SeqCst);
    world.start();
    until_empty(&world).await;
    // So the next one goes straight to the broker.
    world.publish(21, 22).await.unwrap();
    assert!(spool.is_empty());
}

async fn until_empty(world: &World) {
    let spool = world.spool.as_ref().unwrap();
    let emptied = async {
        while !spool.is_empty() {
            // tidy: sleep because the count has no event, and time is paused
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), emptied).await;
    assert!(waited.is_ok(), "{} events are said to be in the spool", spool.len());
}
