//! Killed at every write and in every call of the target, the work converges to
//! the same end.

use std::sync::Arc;

use orderwire_store::Orders;
use orderwire_types::{OrderState, RawJson, ReleaseState};
use uuid::Uuid;

use crate::reconcile_dying::{Death, DyingStore};
use crate::reconcile_target::Cut;
use crate::reconcile_world::{Running, World, scope};

/// What everything comes to.
#[derive(Debug, PartialEq)]
struct End {
    orders: Vec<(OrderState, Option<String>, Option<u64>)>,
    /// What was told of each order.
    told: Vec<Vec<String>>,
    revisions: Vec<(u64, String)>,
    /// After the failed update.
    restored: String,
    removed: Vec<String>,
}

struct Life<'w> {
    world: &'w World,
    running: Option<Running>,
    dying: Arc<DyingStore>,
    /// Whether what runs ends with the process.
    vanish: bool,
    deaths: u32,
}

impl Life<'_> {
    /// Goes on until `done`, and through the death that comes before it.
    async fn through<T>(&mut self, done: impl Future<Output = T>) -> T {
        tokio::pin!(done);
        tokio::select! {
            done = &mut done => return done,
            () = self.dying.died(), if self.deaths == 0 => {}
            () = self.world.target.died(), if self.deaths == 0 => {}
        }
        self.deaths += 1;
        self.running.take().unwrap().kill().await;
        self.world.target.revive(self.vanish);
        self.running = Some(self.world.start());
        done.await
    }
}

/// A release is created, updated to something that fails and is rolled back, and
/// removed.
async fn life(death: Option<Death>, cut: Option<Cut>, vanish: bool) -> (End, u64, usize) {
    let world = World::new();
    if let Some(cut) = cut {
        world.target.cut_at(cut);
    }
    let dying = world.dying(death);
    let running = Some(world.start_with(dying.clone(), World::options()));
    let mut life = Life { world: &world, running, dying, vanish, deaths: 0 };

    let create = world.accept(world.order("rollback", "ready")).await;
    let create = life.through(world.finished(create.id)).await;
    let release: Uuid = create.release.unwrap();
    let update = world.accept(world.order("rollback", "fails")).await;
    let update = life.through(world.finished(update.id)).await;
    // A death after the last write comes with what ran; it is brought back.
    let runs = world.until("it runs", async || {
        let running = world.target.running(release);
        (running.len() == 1).then(|| running[0].clone())
    });
    let restored = RawJson::of(&life.through(runs).await.manifests).unwrap().get().to_owned();
    let revisions = world.revisions(release).await;
    let removal = world.removal().await;
    let removal = life.through(world.finished(removal.id)).await;
    life.through(world.all_told()).await;

    assert_eq!(world.target.all_running(), 0);
    assert_eq!(world.keys.live(), [""; 0], "no key is left");
    assert!(world.target.most().0 <= 1, "two copies ran at once");
    let status = world.release(release).await.status;
    assert_eq!(status.keys_made, status.keys_revoked);
    let (writes, calls) = (life.dying.writes(), world.target.calls());
    life.running.take().unwrap().kill().await;
    let orders = [create, update, removal];
    let end = End {
        told: orders.iter().map(|order| world.told_of(order.id)).collect(),
        removed: orders[2].removed.clone(),
        orders: orders.into_iter().map(|order| (order.state, order.reason, order.revision)).collect(),
        revisions: revisions.into_iter().map(|revision| (revision.number, revision.hash)).collect(),
        restored,
    };
    (end, writes, calls)
}

/// A first order fails and leaves nothing; another one is cancelled while it is waited
/// for. How many writes there were.
async fn vain_life(death: Option<Death>, vanish: bool) -> u64 {
    let world = World::new();
    let dying = world.dying(death);
    let running = Some(world.start_with(dying.clone(), World::options()));
    let mut life = Life { world: &world, running, dying, vanish, deaths: 0 };
    let failing = world.accept(world.order("rollback", "fails")).await;
    let failing = life.through(world.finished(failing.id)).await;
    assert_eq!(failing.state, OrderState::RolledBack, "{death:?}");
    let cancelled = world.accept(world.order("rollback", "never")).await;
    life.through(world.in_state(cancelled.id, OrderState::Waiting)).await;
    world.store.cancel(&scope(), cancelled.id, world.clock.now()).await.unwrap();
    let cancelled = life.through(world.finished(cancelled.id)).await;
    assert_eq!(cancelled.state, OrderState::Cancelled, "{death:?}");
    life.through(world.all_told()).await;
    let expected = ["accepted", "planned", "applying", "waiting", "rolling_back"];
    assert_eq!(world.told_of(failing.id), [&expected[..], &["rolled_back"]].concat(), "{death:?}");
    assert_eq!(world.told_of(cancelled.id), [&expected[..], &["cancelled"]].concat(), "{death:?}");
    assert_eq!(world.target.all_running(), 0, "{death:?}");
    assert_eq!(world.keys.live(), [""; 0], "{death:?}: no key is left");
    let status = world.release(failing.release.unwrap()).await.status;
    assert_eq!((status.state, status.applied), (ReleaseState::Absent, None), "{death:?}");
    let writes = life.dying.writes();
    life.running.take().unwrap().kill().await;
    writes
}

#[tokio::test]
async fn killed_at_any_write_a_failed_first_order_and_a_cancelled_one_leave_nothing() {
    let writes = vain_life(None, false).await;
    for n in 1..=writes {
        vain_life(Some(Death::Before(n)), false).await;
        vain_life(Some(Death::After(n)), true).await;
    }
}

async fn undisturbed() -> (End, u64, usize) {
    let (end, writes, calls) = life(None, None, false).await;
    let states: Vec<_> = end.orders.iter().map(|(state, ..)| *state).collect();
    assert_eq!(states, [OrderState::Ready, OrderState::RolledBack, OrderState::Removed]);
    assert_eq!(end.removed, ["Process main"]);
    assert_eq!(end.revisions.len(), 2);
    assert!(end.restored.contains(r#""behaviour":"ready""#));
    (end, writes, calls)
}

async fn killed_at_any_write(vanish: bool) {
    let (expected, writes, _) = undisturbed().await;
    assert!(writes > 20, "only {writes} writes");
    for n in 1..=writes {
        for death in [Death::Before(n), Death::After(n)] {
            let (end, ..) = life(Some(death), None, vanish).await;
            assert_eq!(end, expected, "{death:?} of {writes}");
        }
    }
}

#[tokio::test]
async fn killed_at_any_write_the_work_converges_to_the_same_end() {
    killed_at_any_write(false).await;
}

#[tokio::test]
async fn killed_at_any_write_with_all_that_ran_the_work_converges_to_the_same_end() {
    killed_at_any_write(true).await;
}

#[tokio::test]
async fn killed_in_any_call_of_the_target_the_work_converges_to_the_same_end() {
    let (expected, _, calls) = undisturbed().await;
    assert!(calls >= 7, "only {calls} calls");
    for vanish in [false, true] {
        for n in 1..=calls {
            for cut in [Cut::Before(n), Cut::Half(n), Cut::After(n)] {
                let (end, ..) = life(None, Some(cut), vanish).await;
                assert_eq!(end, expected, "{cut:?} of {calls}, what ran vanished: {vanish}");
            }
        }
    }
}
