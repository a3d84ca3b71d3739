//! Cancelled, superseded, away, restarted: whatever comes in between.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_provisioner::ReconcilerOptions;
use orderwire_store::orders::{Order, Release};
use orderwire_store::testkit::forward::*;
use orderwire_store::{Error, Orders, Store};
use orderwire_types::{OrderState, ReleaseState};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::reconcile_dying::DyingStore;
use crate::reconcile_world::{World, scope};

fn is_ready(release: &Release) -> bool {
    release.status.state == ReleaseState::Ready
}

#[tokio::test]
async fn a_cancelled_update_brings_the_last_ready_revision_back() {
    let world = World::new();
    let running = world.start();
    let release = world.ordered("rollback", "ready").await.release.unwrap();
    let update = world.accept(world.order("rollback", "never")).await;
    world.in_state(update.id, OrderState::Waiting).await;
    world.store.cancel(&scope(), update.id, world.clock.now()).await.unwrap();
    let update = world.finished(update.id).await;
    assert_eq!(update.state, OrderState::Cancelled, "{update:?}");
    let status = world.release(release).await.status;
    assert_eq!((status.state, status.applied), (ReleaseState::Ready, Some(1)));
    assert_eq!(world.keys.live().len(), 1);
    world.all_told().await;
    assert_eq!(
        world.told_of(update.id),
        ["accepted", "planned", "applying", "waiting", "rolling_back", "cancelled"]
    );
    running.stop().await;
}

#[tokio::test]
async fn a_cancelled_first_order_leaves_nothing() {
    let world = World::new();
    let running = world.start();
    let order = world.accept(world.order("rollback", "never")).await;
    world.in_state(order.id, OrderState::Waiting).await;
    world.store.cancel(&scope(), order.id, world.clock.now()).await.unwrap();
    let order = world.finished(order.id).await;
    assert_eq!(order.state, OrderState::Cancelled);
    assert_eq!(world.target.all_running(), 0);
    assert_eq!(world.keys.live(), [""; 0]);
    assert_eq!(world.release(order.release.unwrap()).await.status.state, ReleaseState::Absent);
    running.stop().await;
}

#[tokio::test]
async fn an_order_that_is_cancelled_while_its_target_is_away_ends_when_it_is_back() {
    let world = World::new();
    let running = world.start();
    world.target.away.store(true, Ordering::SeqCst);
    let order = world.accept(world.order("rollback", "ready")).await;
    let waiting = |order: &Order| order.reason.as_deref() == Some("waiting: the target is away");
    world.until("it says so", async || waiting(&world.get(order.id).await).then_some(())).await;
    world.store.cancel(&scope(), order.id, world.clock.now()).await.unwrap();
    world.in_state(order.id, OrderState::RollingBack).await;
    world.target.away.store(false, Ordering::SeqCst);
    world.time.advance(Duration::from_secs(120));
    assert_eq!(world.finished(order.id).await.state, OrderState::Cancelled);
    assert_eq!(world.keys.live(), [""; 0]);
    running.stop().await;
}

#[tokio::test]
async fn an_order_that_nobody_has_begun_is_cancelled_at_once_and_leaves_the_release_absent() {
    let world = World::new();
    let order = world.accept(world.order("rollback", "ready")).await;
    let cancelled = world.store.cancel(&scope(), order.id, world.clock.now()).await.unwrap();
    assert_eq!(cancelled.state, OrderState::Cancelled);
    let running = world.start();
    let absent = |release: &Release| release.status.state == ReleaseState::Absent;
    world.release_where(order.release.unwrap(), "it is absent", absent).await;
    assert_eq!(world.target.calls(), 0);
    running.stop().await;
}

#[tokio::test]
async fn a_newer_order_takes_over_in_the_middle_of_an_older_one() {
    let world = World::new();
    let running = world.start();
    let gate = Arc::new(Semaphore::new(0));
    *world.target.gate.lock().unwrap() = Some(gate.clone());
    let first = world.accept(world.order("rollback", "fails")).await;
    world.in_state(first.id, OrderState::Waiting).await;
    let second = world.accept(world.order("rollback", "ready 2")).await;
    gate.add_permits(1_000);
    let second = world.finished(second.id).await;
    assert_eq!((second.state, second.revision), (OrderState::Ready, Some(2)));
    assert_eq!(world.get(first.id).await.state, OrderState::Superseded);
    assert_eq!(world.target.running(second.release.unwrap()).len(), 1);
    assert_eq!(world.keys.live().len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn of_two_orders_for_one_release_at_once_the_newer_one_wins() {
    let world = World::new();
    let running = world.start();
    let (one, other) = (world.order("rollback", "ready 1"), world.order("rollback", "ready 2"));
    let (one, other) = tokio::join!(world.accept(one), world.accept(other));
    let ended = [world.finished(one.id).await, world.finished(other.id).await];
    let ready: Vec<_> = ended.iter().filter(|order| order.state == OrderState::Ready).collect();
    assert!(!ready.is_empty() && ended[1].state == OrderState::Ready, "{ended:?}");
    assert_eq!(world.target.running(one.release.unwrap())[0].manifests[0].0["spec"]["number"], 2);
    running.stop().await;
}

#[tokio::test]
async fn an_order_waits_for_a_target_that_is_away_and_needs_one_key() {
    let world = World::new();
    let running = world.start();
    world.target.away.store(true, Ordering::SeqCst);
    let order = world.accept(world.order("rollback", "ready")).await;
    for retries in 1..=3 {
        world
            .until("it was tried again", async || {
                let journal = world.journal(order.id).await;
                (journal.iter().filter(|entry| *entry == "apply retry").count() >= retries).then_some(())
            })
            .await;
        let applying = world.get(order.id).await;
        assert_eq!(applying.state, OrderState::Applying);
        assert_eq!(applying.reason.as_deref(), Some("waiting: the target is away"));
        // The next entry is written after twice as many attempts.
        for _ in 0..(1 << retries) {
            world.until("it rests", async || rests(&world).await).await;
            world.time.advance(Duration::from_secs(60));
        }
    }
    world.target.away.store(false, Ordering::SeqCst);
    world
        .until("it rests or is done", async || {
            if world.get(order.id).await.state.is_final() { Some(()) } else { rests(&world).await }
        })
        .await;
    world.time.advance(Duration::from_secs(60));
    let order = world.finished(order.id).await;
    assert_eq!((order.state, order.reason), (OrderState::Ready, None));
    assert_eq!(world.keys.all().len(), 1, "attempts in a row share a key");
    running.stop().await;
}

/// Whether what is due next lies in the future, and nobody holds a lease.
async fn rests(world: &World) -> Option<()> {
    let now = world.clock.now();
    let due = world.store.next_due("local", now).await.unwrap()?;
    let far = now.checked_add(Duration::from_secs(3600)).unwrap();
    (due > now && due < far).then_some(())
}

#[tokio::test]
async fn what_changes_while_a_release_is_looked_at_is_not_lost() {
    let world = World::new();
    let gate = Arc::new(Semaphore::new(0));
    *world.target.gate.lock().unwrap() = Some(gate.clone());
    let running = world.start();
    let order = world.accept(world.order("rollback", "later")).await;
    let release = order.release.unwrap();
    world.in_state(order.id, OrderState::Waiting).await;
    world.until("it is looked at", async || (world.target.calls() >= 2).then_some(())).await;
    // What was seen is old now; the change is told under the lease of who saw it.
    world.target.become_healthy(release);
    world.store.touch(release, world.clock.now()).await.unwrap();
    gate.add_permits(1_000);
    assert_eq!(world.finished(order.id).await.state, OrderState::Ready, "without any help of the clock");
    running.stop().await;
}

#[tokio::test]
async fn releases_that_ended_with_the_process_are_brought_back_with_another_key() {
    let world = World::new();
    let running = world.start();
    let order = world.ordered("rollback", "ready").await;
    let release = order.release.unwrap();
    let former = world.keys.live();
    running.stop().await;
    world.target.vanish(release);
    let running = world.start();
    world
        .until("it runs again", async || {
            (world.target.running(release).len() == 1 && world.keys.live().len() == 1).then_some(())
        })
        .await;
    world
        .release_where(release, "it is ready", |release| {
            is_ready(release) && release.status.keys_revoked == 1
        })
        .await;
    assert_ne!(world.keys.live(), former);
    assert_eq!(world.target.running(release)[0].key, Some(world.keys.live().remove(0)));
    assert_eq!(world.trace(&order).await.last().unwrap(), "restored ok");
    running.stop().await;
}

#[tokio::test]
async fn a_release_that_is_brought_back_and_fails_is_tried_again_after_pauses() {
    let world = World::new();
    let running = world.start();
    let order = world.ordered("rollback", "once").await;
    let release = order.release.unwrap();
    running.stop().await;
    world.target.vanish(release);
    let running = world.start();
    for attempts in 1..=4 {
        world
            .until("it is tried again", async || (world.target.applied().len() == 1 + attempts).then_some(()))
            .await;
        let degraded = |release: &Release| release.status.state == ReleaseState::Degraded;
        world.release_where(release, "it is degraded", degraded).await;
        world.until("it rests", async || rests(&world).await).await;
        assert_eq!(world.target.applied().len(), 1 + attempts, "not without a pause");
        assert_eq!(world.keys.live().len(), 1, "only the key in use works");
        world.time.advance(Duration::from_secs(60));
    }
    world.target.become_healthy(release);
    world.target.tell(release);
    world.release_where(release, "it is ready", is_ready).await;
    assert_eq!(world.keys.live().len(), 1);
    running.stop().await;
}

/// A store that makes one release due only when it is let.
struct SlowToTouch {
    inner: Arc<DyingStore>,
    slow: Uuid,
    gate: Semaphore,
}

impl Forward for SlowToTouch {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }
}

impl ForwardClients for SlowToTouch {}
impl ForwardDatasets for SlowToTouch {}
impl ForwardDeliveryLog for SlowToTouch {}
impl ForwardKeys for SlowToTouch {}
impl ForwardTraces for SlowToTouch {}
impl ForwardTurns for SlowToTouch {}

#[async_trait]
impl ForwardOrders for SlowToTouch {
    async fn touch(&self, release: Uuid, at: Timestamp) -> Result<(), Error> {
        if release == self.slow {
            self.gate.acquire().await.unwrap().forget();
        }
        self.inner().touch(release, at).await
    }
}

#[tokio::test]
async fn an_order_does_not_wait_until_every_release_was_made_due_at_the_start() {
    let world = World::new();
    let running = world.start();
    let release = world.ordered("rollback", "ready").await.release.unwrap();
    running.stop().await;
    world.target.vanish(release);
    let store = SlowToTouch { inner: world.dying(None), slow: release, gate: Semaphore::new(0) };
    let store = Arc::new(store);
    let running = world.start_with(store.clone(), World::options());
    let other = Order { name: "other".to_owned(), ..world.order("rollback", "later") };
    let other = world.accept(other).await;
    let waiting = world.in_state(other.id, OrderState::Waiting).await.release.unwrap();
    world.target.become_healthy(waiting);
    // Only what the target tells makes it due now.
    world.target.tell(waiting);
    assert_eq!(world.finished(other.id).await.state, OrderState::Ready);
    let applied = world.target.applied().len();
    store.gate.add_permits(1_000);
    let again = async || (world.target.applied().len() > applied).then_some(());
    world.until("what vanished meanwhile is applied again", again).await;
    running.stop().await;
}

#[tokio::test]
async fn work_whose_lease_ran_out_unnoticed_ends_before_it_begins_anew() {
    let world = World::new();
    let gate = Arc::new(Semaphore::new(0));
    *world.target.gate.lock().unwrap() = Some(gate.clone());
    let lease = Duration::from_secs(30);
    let running = world.start_with(world.dying(None), ReconcilerOptions { lease, ..World::options() });
    let order = world.accept(world.order("rollback", "ready")).await;
    for calls in [2, 3, 4] {
        world.until("it is looked at", async || (world.target.calls() >= calls).then_some(())).await;
        // As when the machine slept. The target panics when two calls come at once.
        world.store.take_over(&["local".to_owned()], world.clock.now()).await.unwrap();
    }
    gate.add_permits(1_000);
    assert_eq!(world.finished(order.id).await.state, OrderState::Ready);
    assert_eq!(world.target.applied().len(), 1, "what was handed over is not handed over again");
    running.stop().await;
}

#[tokio::test]
async fn long_work_keeps_its_lease() {
    let world = World::new();
    let gate = Arc::new(Semaphore::new(0));
    *world.target.gate.lock().unwrap() = Some(gate.clone());
    let lease = Duration::from_secs(30);
    let running = world.start_with(world.dying(None), ReconcilerOptions { lease, ..World::options() });
    let order = world.accept(world.order("rollback", "ready")).await;
    world.until("it is looked at", async || (world.target.calls() == 2).then_some(())).await;
    let mut end = world.store.next_due("local", world.clock.now()).await.unwrap().unwrap();
    for _ in 0..6 {
        world.time.advance(Duration::from_secs(10));
        // Whoever prolongs it may have begun to wait only after that, and waits from there:
        // time goes on, but never to the end of the lease.
        let goes_on = async {
            for _ in 0..19 {
                // tidy: sleep because nothing tells that somebody waits
                tokio::time::sleep(Duration::from_millis(200)).await;
                world.time.advance(Duration::from_secs(1));
            }
            std::future::pending().await
        };
        let prolonged = world.until("it is prolonged", async || {
            world.store.next_due("local", world.clock.now()).await.unwrap().filter(|next| *next > end)
        });
        end = tokio::select! {
            prolonged = prolonged => prolonged,
            never = goes_on => never,
        };
    }
    gate.add_permits(1_000);
    assert_eq!(world.finished(order.id).await.state, OrderState::Ready);
    assert_eq!(world.target.calls(), 2, "nobody else took it in a minute");
    running.stop().await;
}

#[tokio::test]
async fn a_release_that_turns_ill_is_degraded_and_ready_again_when_it_recovers() {
    let world = World::new();
    let running = world.start();
    let order = world.accept(world.order("rollback", "later")).await;
    let release = order.release.unwrap();
    world.in_state(order.id, OrderState::Waiting).await;
    world.target.become_healthy(release);
    world.target.tell(release);
    world.finished(order.id).await;
    world.target.become_ill(release);
    world.target.tell(release);
    let degraded = |release: &Release| release.status.state == ReleaseState::Degraded;
    let ill = world.release_where(release, "it is degraded", degraded).await;
    assert_eq!(ill.status.reason.as_deref(), Some("it does not answer yet"));
    world.target.become_healthy(release);
    world.target.tell(release);
    world.release_where(release, "it is ready", is_ready).await;
    assert_eq!(world.target.applied().len(), 1, "nothing was applied again");
    running.stop().await;
}

#[tokio::test]
async fn a_publisher_that_fails_for_a_while_loses_no_change() {
    let world = World::new();
    world.told.failing.store(true, Ordering::SeqCst);
    let running = world.start();
    let order = world.ordered("rollback", "ready").await;
    world.until("it was tried", async || (world.told.refused.load(Ordering::SeqCst) > 0).then_some(())).await;
    world.told.failing.store(false, Ordering::SeqCst);
    world.time.advance(Duration::from_secs(60));
    world.all_told().await;
    assert_eq!(world.told_of(order.id), ["accepted", "planned", "applying", "waiting", "ready"]);
    running.stop().await;
}

#[tokio::test]
async fn two_reconcilers_on_one_store_never_work_on_one_release_at_once() {
    let world = World::new();
    let shared = ReconcilerOptions { sole: false, ..World::options() };
    let one = world.start_with(world.dying(None), shared);
    let other = world.start_with(world.dying(None), shared);
    let mut orders = Vec::new();
    for round in 1..=3 {
        for name in ["a", "b", "c", "d", "e"] {
            let order = world.order("rollback", &format!("ready {round}"));
            orders.push(world.accept(Order { name: name.to_owned(), ..order }).await);
        }
    }
    // The target panics when two calls for one release come at once.
    for order in orders.iter().rev().take(5) {
        assert_eq!(world.finished(order.id).await.state, OrderState::Ready);
    }
    for order in &orders {
        assert!(world.get(order.id).await.state.is_final());
    }
    assert_eq!(world.keys.live().len(), 5);
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn two_hundred_orders_are_done_while_one_never_gets_ready() {
    let mut world = World::new();
    world.concurrency = 4;
    let mut orders = Vec::new();
    let stuck = world.accept(Order { name: "stuck".to_owned(), ..world.order("rollback", "never") }).await;
    for n in 0..200 {
        let client = format!("client-{}", n / 10);
        let order = Order {
            client: client.parse().unwrap(),
            namespace: client,
            name: format!("release-{n}"),
            ..world.order("rollback", "ready")
        };
        orders.push(world.accept(order).await);
    }
    let running = world.start();
    for order in &orders {
        assert_eq!(world.finished(order.id).await.state, OrderState::Ready);
    }
    assert_eq!(world.get(stuck.id).await.state, OrderState::Waiting);
    let (_, at_once) = world.target.most();
    assert!(at_once <= 4, "{at_once} at once");
    assert!(at_once > 1, "never two at once");
    // 21 clients wait: within two rounds each has been served.
    let mut served: Vec<_> = world.target.applied().into_iter().take(42).map(|(client, _)| client).collect();
    served.sort();
    served.dedup();
    assert_eq!(served.len(), 21, "{served:?}");
    running.stop().await;
}
