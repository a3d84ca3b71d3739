//! What an order left half done when another one took its place, or the process died:
//! nobody takes it for something that runs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use orderwire_store::Orders;
use orderwire_store::orders::{Order, Release};
use orderwire_types::{OrderState, RawJson, ReleaseState};

use crate::reconcile_target::Cut;
use crate::reconcile_world::{World, scope};

/// An order that cannot be planned.
fn impossible(world: &World, product: &str) -> Order {
    Order { parameters: RawJson::of("no object").unwrap(), ..world.order(product, "ready") }
}

/// An order whose content is another, of which the target sees nothing, as with another
/// secret.
fn same_objects(world: &World, product: &str) -> Order {
    let parameters = RawJson::parse(r#"{"behaviour":"ready","number":1,"unseen":true}"#.to_owned()).unwrap();
    Order { parameters, ..world.order(product, "ready") }
}

fn is_ready(release: &Release) -> bool {
    release.status.state == ReleaseState::Ready
}

#[tokio::test]
async fn a_revision_that_was_never_handed_over_is_never_ready_and_the_key_in_use_stays() {
    let world = World::new();
    let running = world.start();
    let release = world.ordered("rollback", "ready").await.release.unwrap();
    let former = world.target.running(release)[0].key.clone().unwrap();
    world.target.away.store(true, Ordering::SeqCst);
    let update = world.accept(same_objects(&world, "rollback")).await;
    let begun = |release: &Release| release.status.applied == Some(2) && release.status.keys_made == 2;
    world.release_where(release, "it is on its way", begun).await;
    let next = world.accept(impossible(&world, "rollback")).await;
    world.in_state(next.id, OrderState::RollingBack).await;
    assert!(world.keys.live().contains(&former), "the process still runs with its key");
    world.target.away.store(false, Ordering::SeqCst);
    world.time.advance(Duration::from_secs(120));
    let next = world.finished(next.id).await;
    assert_eq!(next.state, OrderState::Failed, "{next:?}");
    assert!(!next.reason.unwrap().contains("away"), "the reason is that of its plan");
    assert_eq!(world.get(update.id).await.state, OrderState::Superseded);
    let status = world.release(release).await.status;
    assert_eq!((status.ready, status.applied, status.state), (Some(1), Some(1), ReleaseState::Ready));
    assert_eq!(world.revisions(release).await[1].ready_at, None);
    let copies = world.target.running(release);
    assert_eq!((copies[0].revision, world.keys.live()), (1, vec![copies[0].key.clone().unwrap()]));
    running.stop().await;
}

#[tokio::test]
async fn a_release_that_was_brought_back_half_way_keeps_the_key_that_it_runs_with() {
    let world = World::new();
    let running = world.start();
    let release = world.ordered("rollback", "ready").await.release.unwrap();
    let copies = world.target.running(release);
    running.stop().await;
    world.target.vanish(release);
    // Of what brings it back, the target is looked at first.
    world.target.cut_at(Cut::Before(world.target.calls() + 2));
    let running = world.start();
    world.target.died().await;
    running.kill().await;
    assert_eq!(world.keys.all().len(), 2, "another key was made and told to nobody");
    world.target.revive(false);
    world.target.put(release, copies);
    let running = world.start();
    let settled = |release: &Release| {
        let status = &release.status;
        is_ready(release) && status.handed_over && status.keys_revoked + 1 == status.keys_made
    };
    world.release_where(release, "it is ready", settled).await;
    let key = world.target.running(release)[0].key.clone().unwrap();
    assert_eq!(world.keys.live(), [key], "the key in use, and no other");
    running.stop().await;
}

#[tokio::test]
async fn an_order_that_fails_early_restores_what_the_one_before_it_had_replaced() {
    for product in ["rollback", "freeze", "keep"] {
        let world = World::new();
        let running = world.start();
        let release = world.ordered(product, "ready").await.release.unwrap();
        let update = world.accept(world.order(product, "never")).await;
        world.in_state(update.id, OrderState::Waiting).await;
        let next = world.accept(impossible(&world, product)).await;
        let next = world.finished(next.id).await;
        assert_eq!(next.state, OrderState::Failed, "{next:?}");
        world.all_told().await;
        assert_eq!(world.told_of(next.id), ["accepted", "rolling_back", "failed"]);
        assert_eq!(world.trace(&next).await, ["planned failed", "applied ok", "restored ok"]);
        let status = world.release(release).await.status;
        assert_eq!((status.state, status.ready, status.applied), (ReleaseState::Ready, Some(1), Some(1)));
        let copies = world.target.running(release);
        assert_eq!(copies[0].manifests[0].0["spec"]["behaviour"], "ready");
        assert_eq!(world.keys.live(), [copies[0].key.clone().unwrap()]);
        running.stop().await;
    }
}

#[tokio::test]
async fn an_order_that_fails_early_removes_what_a_first_order_had_begun() {
    let world = World::new();
    let running = world.start();
    let first = world.accept(world.order("keep", "never")).await;
    world.in_state(first.id, OrderState::Waiting).await;
    let next = world.accept(impossible(&world, "keep")).await;
    let next = world.finished(next.id).await;
    assert_eq!(next.state, OrderState::Failed, "{next:?}");
    assert!(next.reason.unwrap().ends_with("there was no earlier revision, so everything was removed"));
    let status = world.release(next.release.unwrap()).await.status;
    assert_eq!((status.state, status.applied), (ReleaseState::Absent, None));
    assert_eq!(world.target.all_running(), 0);
    assert_eq!(world.keys.live(), [""; 0]);
    running.stop().await;
}

#[tokio::test]
async fn an_order_that_fails_early_leaves_a_frozen_release_frozen() {
    let world = World::new();
    let running = world.start();
    let release = world.ordered("freeze", "ready").await.release.unwrap();
    world.ordered("freeze", "fails").await;
    let shown = |release: &Release| !release.status.resources.get().contains("\"ready\"");
    let frozen = world.release_where(release, "what is left is shown", shown).await.status;
    let next = world.accept(impossible(&world, "freeze")).await;
    assert_eq!(world.finished(next.id).await.state, OrderState::Failed);
    assert_eq!(world.release(release).await.status, frozen);
    assert_eq!(world.target.running(release)[0].revision, 2);
    running.stop().await;
}

#[tokio::test]
async fn an_order_that_is_cancelled_before_it_began_restores_what_the_one_before_it_had_replaced() {
    let world = World::new();
    let running = world.start();
    let release = world.ordered("keep", "ready").await.release.unwrap();
    let update = world.accept(world.order("keep", "never")).await;
    world.in_state(update.id, OrderState::Waiting).await;
    running.stop().await;
    let next = world.accept(world.order("keep", "ready 2")).await;
    let asked = world.store.cancel(&scope(), next.id, world.clock.now()).await.unwrap();
    assert_eq!((asked.state, asked.cancel), (OrderState::Accepted, true));
    let running = world.start();
    assert_eq!(world.finished(next.id).await.state, OrderState::Cancelled);
    let status = world.release(release).await.status;
    assert_eq!((status.state, status.applied), (ReleaseState::Ready, Some(1)));
    assert_eq!(world.target.running(release)[0].revision, 1);
    assert_eq!(world.keys.live().len(), 1);
    running.stop().await;
}
