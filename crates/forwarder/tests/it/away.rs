//! Endpoints that are away for a while.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use orderwire_forwarder::{BreakerOptions, EndpointOptions};
use orderwire_store::log::AttemptOutcome;
use orderwire_types::queue::Key;
use tokio::time::Instant;

use crate::stub::{Act, Stub, ok, status};
use crate::world::{Tries, World, endpoint};

const EVENTS: usize = 30;

#[tokio::test]
async fn an_endpoint_that_comes_back_gets_everything_once_and_nothing_is_dead() {
    let away = Arc::new(AtomicBool::new(true));
    let stub = Stub::start({
        let away = Arc::clone(&away);
        move |_| if away.load(Ordering::SeqCst) { status(500) } else { ok() }
    })
    .await;
    let breaker = BreakerOptions {
        failures: 3,
        pause: Duration::from_millis(400),
        pause_max: Duration::from_millis(400),
    };
    let shop = EndpointOptions { breaker, ..endpoint("shop", &stub.url()) };
    // Without the breaker these would be used up in less than two seconds.
    let tries = Tries { attempts: 12, ..Tries::default() };
    let mut world = World::with(vec![shop], tries, |store| store).await;
    let mut published = BTreeSet::new();
    for _ in 0..EVENTS {
        published.insert(world.publish("shop.order.paid").await.to_string());
    }
    // Away for some pauses: each lets one event try.
    world.until("some probes", async |_| (stub.all().len() >= 10).then_some(())).await;
    let tried = stub.all().len();
    assert!(tried < EVENTS, "{tried} posts to an endpoint that is away");
    let state = world.state("shop").await;
    assert_eq!((state.ready + state.in_flight + state.delayed, state.dead), (EVENTS as u64, 0));

    away.store(false, Ordering::SeqCst);
    world.until_empty("shop").await;
    assert!(world.dead().await.is_empty());
    let log = world.until("the log is written", async |world| {
        let log = world.log("shop").await;
        let taken = log.iter().filter(|attempt| attempt.outcome == AttemptOutcome::Delivered).count();
        (taken >= EVENTS).then_some(log)
    });
    let taken: Vec<String> = log
        .await
        .iter()
        .filter(|attempt| attempt.outcome == AttemptOutcome::Delivered)
        .map(|attempt| attempt.event_id.to_string())
        .collect();
    assert_eq!(taken.len(), EVENTS, "each once");
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), published);
    world.drain().await;
}

#[tokio::test]
async fn an_endpoint_that_asks_for_a_pause_gets_it() {
    let first = AtomicBool::new(true);
    let mut stub = Stub::start(move |_| {
        if first.swap(false, Ordering::SeqCst) {
            Act::Answer(429, "retry-after: 1\r\n", String::new())
        } else {
            ok()
        }
    })
    .await;
    let one = EndpointOptions { concurrency: 1, ..endpoint("shop", &stub.url()) };
    let mut world = World::start(vec![one]).await;
    for _ in 0..3 {
        world.publish("shop.order.paid").await;
    }
    stub.next().await;
    let begin = Instant::now();
    // The others of the endpoint wait, too.
    stub.next().await;
    assert!(begin.elapsed() >= Duration::from_millis(900), "{:?}", begin.elapsed());
    world.until_empty("shop").await;
    let log = world.logged("shop", 4).await;
    assert_eq!((log.len(), log[0].status), (4, Some(429)));
    world.drain().await;
}

#[tokio::test]
async fn a_slow_endpoint_delays_no_other() {
    let slow = Stub::start(|_| Act::Hang).await;
    let mut quick = Stub::start(|_| ok()).await;
    let endpoints = vec![endpoint("slow", &slow.url()), endpoint("quick", &quick.url())];
    let mut world = World::start(endpoints).await;
    for _ in 0..20 {
        world.publish("slow.order.paid").await;
    }
    world.until("the slow one has all it takes", async |_| (slow.all().len() >= 4).then_some(())).await;
    let begin = Instant::now();
    for _ in 0..20 {
        world.publish("quick.order.paid").await;
    }
    for _ in 0..20 {
        quick.next().await;
    }
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert_eq!(slow.all().len(), 4, "no more at once than its concurrency");
}

#[tokio::test]
async fn events_of_one_key_arrive_in_their_order_whatever_fails() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let stub = Stub::start(move |_| {
        // Every third post fails.
        if count.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) { status(503) } else { ok() }
    })
    .await;
    let tries = Tries { key: Key::Partitionkey, ..Tries::default() };
    let mut world = World::with(vec![endpoint("shop", &stub.url())], tries, |store| store).await;
    let mut published = Vec::new();
    for _ in 0..12 {
        published.push(world.publish("shop.order.paid").await);
    }
    world.until_empty("shop").await;
    let log = world.until("the log is written", async |world| {
        let log = world.log("shop").await;
        let taken: Vec<_> = log
            .iter()
            .filter(|attempt| attempt.outcome == AttemptOutcome::Delivered)
            .map(|attempt| attempt.event_id)
            .collect();
        (taken.len() >= 12).then_some(taken)
    });
    assert_eq!(log.await, published);
    world.drain().await;
}

#[tokio::test]
async fn what_no_attempt_brought_through_is_a_dead_letter_with_its_cause() {
    let stub = Stub::start(|_| status(500)).await;
    let tries = Tries { attempts: 3, ..Tries::default() };
    let mut world = World::with(vec![endpoint("shop", &stub.url())], tries, |store| store).await;
    world.publish("shop.order.paid").await;
    let dead = world.until("a dead letter", async |world| world.dead().await.pop()).await;
    assert_eq!((dead.attempts, dead.cause.as_str()), (3, "the endpoint answered 500 Internal Server Error"));
    assert_eq!(stub.all().len(), 3);
    world.drain().await;
}
