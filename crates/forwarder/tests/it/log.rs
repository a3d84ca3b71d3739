//! The delivery log holds nothing up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use orderwire_store::log::DeliveryAttempt;
use orderwire_store::testkit::forward::*;
use orderwire_store::{Error, ErrorKind, Store};
use orderwire_types::Label;
use tokio::time::Instant;

use crate::stub::{Stub, ok};
use crate::world::{Tries, World, endpoint};

/// A store whose delivery log is away.
struct Away {
    inner: Arc<dyn Store>,
    away: Arc<AtomicBool>,
    writes: Arc<AtomicUsize>,
}

impl Forward for Away {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }
}

impl ForwardDatasets for Away {}
impl ForwardClients for Away {}
impl ForwardKeys for Away {}
impl ForwardTurns for Away {}
impl ForwardTraces for Away {}
impl ForwardOrders for Away {}

#[async_trait]
impl ForwardDeliveryLog for Away {
    async fn log_attempts(
        &self,
        endpoint: &Label,
        attempts: &[DeliveryAttempt],
        keep: u64,
    ) -> Result<(), Error> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "the store is away"));
        }
        self.inner.log_attempts(endpoint, attempts, keep).await
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_written_delays_no_delivery_and_is_made_up_for() {
    let mut stub = Stub::start(|_| ok()).await;
    let (away, writes) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let mut world = World::with(vec![endpoint("shop", &stub.url())], Tries::default(), |inner| {
        Arc::new(Away { inner, away: Arc::clone(&away), writes: Arc::clone(&writes) })
    })
    .await;
    let begin = Instant::now();
    for _ in 0..50 {
        world.publish("shop.order.paid").await;
    }
    for _ in 0..50 {
        stub.next().await;
    }
    world.until_empty("shop").await;
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    world.until("a write was tried", async |_| (writes.load(Ordering::SeqCst) > 0).then_some(())).await;
    assert!(world.log("shop").await.is_empty());
    away.store(false, Ordering::SeqCst);
    assert_eq!(world.logged("shop", 50).await.len(), 50);
    world.drain().await;
}

#[tokio::test]
async fn the_log_is_written_to_its_end_and_together() {
    let mut stub = Stub::start(|_| ok()).await;
    let writes = Arc::new(AtomicUsize::new(0));
    let mut world = World::with(vec![endpoint("shop", &stub.url())], Tries::default(), |inner| {
        Arc::new(Away { inner, away: Arc::default(), writes: Arc::clone(&writes) })
    })
    .await;
    for _ in 0..50 {
        world.publish("shop.order.paid").await;
    }
    for _ in 0..50 {
        stub.next().await;
    }
    world.until_empty("shop").await;
    let store = Arc::clone(&world.store);
    world.drain().await;
    let none = orderwire_store::log::AttemptFilter::default();
    let name = "shop".parse().unwrap();
    let log = store.attempts(&crate::world::scope(), &name, &none, None, 100).await.unwrap();
    assert_eq!(log.len(), 50);
    assert!(writes.load(Ordering::SeqCst) < 25, "{} writes", writes.load(Ordering::SeqCst));
}

#[tokio::test]
async fn without_endpoints_it_runs_until_it_is_stopped() {
    let mut world = World::start(Vec::new()).await;
    assert!(!world.ends_within(Duration::from_millis(500)).await, "nothing ends by itself");
    world.drain().await;
}
