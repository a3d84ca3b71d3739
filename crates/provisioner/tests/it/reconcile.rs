//! What becomes of orders, on a real store and a target that follows a script.

use std::time::Duration;

use orderwire_store::orders::{Order, Release, ReleaseStatus};
use orderwire_store::{Datasets, Orders};
use orderwire_types::{Action, OrderState, ReleaseState, Right};

use crate::reconcile_world::{World, scope};

#[tokio::test]
async fn an_order_becomes_a_ready_release_with_a_key_of_its_own() {
    let world = World::new();
    let running = world.start();
    let order = world.ordered("rollback", "ready").await;
    assert_eq!((order.state, order.reason.as_deref(), order.revision), (OrderState::Ready, None, Some(1)));

    let release = world.release(order.release.unwrap()).await;
    assert_eq!((release.status.ready, release.status.applied), (Some(1), Some(1)));
    assert_eq!(release.status.state, ReleaseState::Ready);
    assert!(release.status.resources.get().contains("\"main\""), "{:?}", release.status.resources);
    assert_eq!(
        world.journal(order.id).await,
        [
            "plan begun",
            "plan done",
            "prepare begun",
            "prepare done",
            "apply begun",
            "apply done",
            "wait begun",
            "wait done",
            "settle begun",
            "settle done"
        ]
    );
    assert_eq!(world.trace(&order).await, ["planned ok", "prepared ok", "applied ok", "ready ok"]);
    assert!(world.store.dataset(&scope(), &"air".parse().unwrap()).is_some(), "its dataset is made");

    let keys: Vec<_> = world.keys.all().into_values().collect();
    assert_eq!(keys.len(), 1);
    assert_eq!((keys[0].client.as_str(), &keys[0].rights[..]), ("acme", &[Right::Write][..]));
    assert_eq!(keys[0].objects, ["dataset/air"]);
    assert_eq!(world.target.running(release.id)[0].key, Some(world.keys.live().remove(0)));

    world.all_told().await;
    assert_eq!(world.told_of(order.id), ["accepted", "planned", "applying", "waiting", "ready"]);
    let first = &world.told.events()[0];
    assert_eq!(first.event_type.as_str(), "orderwire.client.changed");
    running.stop().await;
}

#[tokio::test]
async fn the_same_order_again_touches_nothing() {
    let world = World::new();
    let running = world.start();
    let first = world.ordered("rollback", "ready").await;
    let applied = world.target.applied().len();
    let again = world.ordered("rollback", "ready").await;
    assert_eq!((again.state, again.revision), (OrderState::Unchanged, Some(1)));
    assert_eq!(world.target.applied().len(), applied, "nothing is applied again");
    assert_eq!(world.keys.all().len(), 1);
    assert_eq!(world.revisions(first.release.unwrap()).await.len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn an_update_is_another_revision_with_another_key_and_ends_the_former_one() {
    let world = World::new();
    let running = world.start();
    let first = world.ordered("rollback", "ready").await;
    let release = first.release.unwrap();
    let former = world.keys.live();
    let update = world.ordered("rollback", "ready 2").await;
    assert_eq!((update.state, update.revision), (OrderState::Ready, Some(2)));
    let running_now = world.target.running(release);
    assert_eq!(running_now.len(), 1);
    assert_eq!(running_now[0].manifests[0].0["spec"]["number"], 2);
    assert_eq!(world.keys.live(), [running_now[0].key.clone().unwrap()]);
    assert_ne!(world.keys.live(), former);
    let status = world.release(release).await.status;
    assert_eq!((status.keys_made, status.keys_revoked), (2, 1));

    let back = world
        .accept(Order { action: Action::Rollback, to_revision: Some(1), ..world.order("rollback", "ready") })
        .await;
    let back = world.finished(back.id).await;
    assert_eq!(back.state, OrderState::Ready, "{back:?}");
    assert_eq!(world.target.running(release)[0].manifests[0].0["spec"]["number"], 1);
    let hashes: Vec<_> = world.revisions(release).await.into_iter().map(|revision| revision.hash).collect();
    assert_eq!(hashes[0], hashes[2]);
    running.stop().await;
}

#[tokio::test]
async fn a_failed_update_is_rolled_back_and_says_why() {
    let world = World::new();
    let running = world.start();
    let first = world.ordered("rollback", "ready").await;
    let release = first.release.unwrap();
    for (behaviour, why) in [("fails", "it exited 5 times"), ("refused", "the target does not want this")] {
        let update = world.ordered("rollback", behaviour).await;
        assert_eq!((update.state, update.reason.as_deref()), (OrderState::RolledBack, Some(why)));
        let status = world.release(release).await.status;
        assert_eq!((status.state, status.ready, status.applied), (ReleaseState::Ready, Some(1), Some(1)));
        let copies = world.target.running(release);
        assert_eq!(copies[0].manifests[0].0["spec"]["behaviour"], "ready");
        assert_eq!(world.keys.live(), [copies[0].key.clone().unwrap()], "only the key in use is left");
    }
    running.stop().await;
}

#[tokio::test]
async fn an_update_that_is_not_healthy_in_time_is_rolled_back_at_its_deadline() {
    let world = World::new();
    let running = world.start();
    let release = world.ordered("rollback", "ready").await.release.unwrap();
    let update = world.accept(world.order("rollback", "never")).await;
    world.in_state(update.id, OrderState::Waiting).await;
    for _ in 0..11 {
        world.time.advance(Duration::from_secs(5));
        let seen = *world.target.activity.borrow();
        world.until("it is looked at", async || (*world.target.activity.borrow() > seen).then_some(())).await;
    }
    assert_eq!(world.get(update.id).await.state, OrderState::Waiting, "55 s are less than its patience");
    world.time.advance(Duration::from_secs(6));
    let update = world.finished(update.id).await;
    assert_eq!(update.state, OrderState::RolledBack);
    assert_eq!(update.reason.unwrap(), "not healthy within 60 s: it does not answer yet");
    assert_eq!(world.target.running(release)[0].manifests[0].0["spec"]["behaviour"], "ready");
    running.stop().await;
}

#[tokio::test]
async fn a_frozen_release_is_left_alone_until_the_next_order_even_after_a_restart() {
    let world = World::new();
    let running = world.start();
    world.ordered("freeze", "ready").await;
    let update = world.ordered("freeze", "fails").await;
    assert_eq!((update.state, update.reason.as_deref()), (OrderState::Failed, Some("it exited 5 times")));
    let release = update.release.unwrap();
    // What is shown of it is what is there, not what was there when it was ready.
    let shown = |release: &Release| !release.status.resources.get().contains("\"ready\"");
    let frozen = world.release_where(release, "what is left is shown", shown).await.status;
    assert_eq!((frozen.state, frozen.ready, frozen.applied), (ReleaseState::Frozen, Some(1), Some(2)));
    assert_eq!((frozen.keys_made, frozen.keys_revoked), (2, 0), "somebody may look at what still runs");
    running.stop().await;
    world.target.vanish(release);
    let applied = world.target.applied().len();
    let running = world.start();
    // It is due since the start, so it is looked at before this one.
    let other = Order { name: "other".to_owned(), ..world.order("freeze", "ready") };
    let other = world.accept(other).await;
    world.finished(other.id).await;
    world.store.touch(release, world.clock.now()).await.unwrap();
    world.until("nobody has anything to do", async || idle(&world).await).await;
    assert_eq!(world.target.applied().len(), applied + 1, "only the other one was applied");
    // Nothing of it runs any more, so its keys are nobody's.
    let left =
        ReleaseStatus { keys_revoked: 2, resources: world.release(release).await.status.resources, ..frozen };
    assert_eq!(world.release(release).await.status, left);

    let back = world.ordered("freeze", "ready").await;
    assert_eq!((back.state, back.revision), (OrderState::Ready, Some(1)));
    assert_eq!(world.release(release).await.status.state, ReleaseState::Ready);
    running.stop().await;
}

/// Whether nothing is due and no release is held.
pub(crate) async fn idle(world: &World) -> Option<()> {
    let due = world.store.next_due("local", world.clock.now()).await.unwrap();
    due.is_none().then_some(())
}

#[tokio::test]
async fn a_kept_release_may_become_ready_after_its_order_failed() {
    let world = World::new();
    let running = world.start();
    world.ordered("keep", "ready").await;
    let update = world.accept(world.order("keep", "later")).await;
    world.in_state(update.id, OrderState::Waiting).await;
    world.time.advance(Duration::from_secs(61));
    let update = world.finished(update.id).await;
    assert_eq!(update.state, OrderState::Failed);
    let release = update.release.unwrap();
    let degraded = |release: &Release| release.status.state == ReleaseState::Degraded;
    world.release_where(release, "it is degraded", degraded).await;
    assert_eq!(world.target.running(release)[0].revision, 2, "the revision stays");

    world.target.become_healthy(release);
    world.target.tell(release);
    let ready = |release: &Release| release.status.state == ReleaseState::Ready;
    let release = world.release_where(release, "it is ready", ready).await;
    assert_eq!(release.status.ready, Some(2));
    assert_eq!(world.keys.live().len(), 1);
    assert!(world.revisions(release.id).await[1].ready_at.is_some());
    running.stop().await;
}

#[tokio::test]
async fn a_first_order_that_fails_leaves_nothing() {
    let world = World::new();
    let running = world.start();
    let order = world.ordered("rollback", "fails").await;
    assert_eq!(order.state, OrderState::RolledBack);
    let reason = order.reason.unwrap();
    assert!(reason.starts_with("it exited 5 times") && reason.contains("no earlier revision"), "{reason}");
    let status = world.release(order.release.unwrap()).await.status;
    assert_eq!((status.state, status.applied), (ReleaseState::Absent, None));
    assert_eq!(world.target.all_running(), 0);
    assert_eq!(world.keys.live(), [""; 0]);
    running.stop().await;
}

#[tokio::test]
async fn an_order_that_cannot_be_planned_leaves_the_release_as_it_was() {
    let world = World::new();
    let running = world.start();
    let first = world.ordered("rollback", "ready").await;
    let before = world.release(first.release.unwrap()).await.status;
    let order = Order {
        parameters: orderwire_types::RawJson::of("no object").unwrap(),
        ..world.order("rollback", "ready")
    };
    let order = world.accept(order).await;
    let order = world.finished(order.id).await;
    assert_eq!(order.state, OrderState::Failed, "{order:?}");
    assert!(order.reason.is_some());
    assert_eq!(world.release(first.release.unwrap()).await.status, before);
    running.stop().await;
}

#[tokio::test]
async fn a_dataset_that_exists_is_not_changed() {
    let world = World::new();
    let (air, scope) = ("air".parse().unwrap(), scope());
    let def = serde_json::json!({"fields": [{"name": "other", "type": "text"}]});
    let def = serde_json::from_value(def).unwrap();
    world.store.define(&scope, &air, &def, world.clock.now()).await.unwrap();
    let before = world.store.dataset(&scope, &air).unwrap();
    let running = world.start();
    assert_eq!(world.ordered("rollback", "ready").await.state, OrderState::Ready);
    assert_eq!(world.store.dataset(&scope, &air).unwrap().def, before.def);
    running.stop().await;
}

#[tokio::test]
async fn when_the_restoration_fails_too_the_order_gives_both_reasons() {
    let world = World::new();
    let running = world.start();
    // Ready once, and never again: `later` is healthy only as long as it is said so.
    let first = world.accept(world.order("rollback", "later")).await;
    let waiting = world.in_state(first.id, OrderState::Waiting).await;
    let release = waiting.release.unwrap();
    world.target.become_healthy(release);
    world.target.tell(release);
    assert_eq!(world.finished(first.id).await.state, OrderState::Ready);
    world.target.become_ill(release);
    let update = world.accept(world.order("rollback", "fails")).await;
    world.in_state(update.id, OrderState::RollingBack).await;
    world
        .until("it is restored", async || {
            world.journal(update.id).await.contains(&"restore done".to_owned()).then_some(())
        })
        .await;
    world.time.advance(Duration::from_secs(61));
    let update = world.finished(update.id).await;
    assert_eq!(update.state, OrderState::Failed);
    let reason = update.reason.unwrap();
    assert!(
        reason.starts_with("it exited 5 times; bringing back revision 1 failed too: not healthy"),
        "{reason}"
    );
    let degraded = world
        .release_where(release, "it is degraded", |release| release.status.state == ReleaseState::Degraded);
    assert_eq!(degraded.await.status.applied, Some(1));
    running.stop().await;
}

#[tokio::test]
async fn removal_leaves_nothing_and_lists_what_there_was() {
    let world = World::new();
    let running = world.start();
    let release = world.ordered("rollback", "ready").await.release.unwrap();
    world.ordered("rollback", "ready 2").await;
    let removal = world.removal().await;
    let removal = world.finished(removal.id).await;
    assert_eq!(
        (removal.state, &removal.removed[..]),
        (OrderState::Removed, &["Process main".to_owned()][..])
    );
    assert_eq!(world.target.all_running(), 0);
    assert_eq!(world.keys.live(), [""; 0]);
    let status = world.release(release).await.status;
    assert_eq!((status.state, status.keys_made, status.keys_revoked), (ReleaseState::Removed, 2, 2));
    assert_eq!(world.trace(&removal).await, ["removed ok"]);
    let again = world.ordered("rollback", "ready").await;
    assert_ne!(again.release, Some(release), "its name is free");
    running.stop().await;
}
