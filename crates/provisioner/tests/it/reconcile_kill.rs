//! Killed at every write and in every call of the target, the work converges to
//! the same end. Each life is killed exactly once: one that outlives its death ends
//! the row of deaths.

use std::fmt::Debug;
use std::sync::Arc;

use orderwire_store::Orders;
use orderwire_store::orders::Order;
use orderwire_types::{Action, OrderState, RawJson, ReleaseState};

use crate::reconcile_dying::{Death, DyingStore};
use crate::reconcile_target::Cut;
use crate::reconcile_world::{Running, World, scope};

/// What happens in a life.
#[derive(Clone, Copy, Debug)]
enum Story {
    /// A release is created, updated to something that fails and is rolled back, and
    /// removed.
    RolledBack,
    /// A first order fails and leaves nothing; another one is cancelled while it is
    /// waited for.
    Vain,
    /// With a product that does not roll back: an update fails, an earlier revision is
    /// asked for, an order is superseded while it is waited for, and all is removed.
    Kept(&'static str),
}

struct Life<'w> {
    world: &'w World,
    running: Option<Running>,
    dying: Arc<DyingStore>,
    /// Whether what runs ends with the process.
    vanish: bool,
    deaths: u32,
}

/// What there is to say of a life.
struct Lived {
    /// What it came to.
    end: String,
    deaths: u32,
    writes: u64,
    calls: usize,
    /// The calls that have a half.
    halves: Vec<usize>,
}

impl Life<'_> {
    /// Goes on until `done`, and through the death that comes before it.
    async fn through<T>(&mut self, done: impl Future<Output = T>) -> T {
        tokio::pin!(done);
        tokio::select! {
            done = &mut done => return done,
            () = self.died() => {}
        }
        self.running.take().unwrap().kill().await;
        self.begin_anew();
        done.await
    }

    /// Ends in order, and through the death at a write that nobody waited for.
    async fn end(&mut self) {
        let mut running = self.running.take().unwrap();
        let killed = tokio::select! {
            biased;
            () = self.died() => true,
            () = running.ended() => false,
        };
        if killed {
            running.kill().await;
        } else if !self.is_dead() {
            return;
        }
        self.begin_anew();
        self.world.all_told().await;
        self.running.take().unwrap().stop().await;
    }

    async fn died(&self) {
        tokio::select! {
            () = self.dying.died(), if self.deaths == 0 => {}
            () = self.world.target.died(), if self.deaths == 0 => {}
            else => std::future::pending().await,
        }
    }

    fn is_dead(&self) -> bool {
        self.deaths == 0 && (self.dying.is_dead() || self.world.target.is_dead())
    }

    fn begin_anew(&mut self) {
        self.deaths += 1;
        self.world.target.revive(self.vanish);
        self.running = Some(self.world.start());
    }

    async fn ordered(&mut self, order: Order) -> Order {
        let order = self.world.accept(order).await;
        self.through(self.world.finished(order.id)).await
    }

    async fn waiting(&mut self, order: Order) -> Order {
        let order = self.world.accept(order).await;
        self.through(self.world.in_state(order.id, OrderState::Waiting)).await
    }

    async fn rolled_back(&mut self) -> String {
        let world = self.world;
        let create = self.ordered(world.order("rollback", "ready")).await;
        let release = create.release.unwrap();
        let update = self.ordered(world.order("rollback", "fails")).await;
        // A death after the last write comes with what ran; it is brought back.
        let runs = world.until("it runs", async || {
            let running = world.target.running(release);
            (running.len() == 1).then(|| running[0].clone())
        });
        let restored = RawJson::of(&self.through(runs).await.manifests).unwrap().get().to_owned();
        let revisions = world.revisions(release).await;
        let hashes: Vec<_> = revisions.into_iter().map(|revision| (revision.number, revision.hash)).collect();
        let removal = world.removal().await;
        let removal = self.through(world.finished(removal.id)).await;
        self.through(world.all_told()).await;
        let states = [create.state, update.state, removal.state];
        assert_eq!(states, [OrderState::Ready, OrderState::RolledBack, OrderState::Removed]);
        assert_eq!((hashes.len(), &removal.removed[..]), (2, &["Process main".to_owned()][..]));
        assert!(restored.contains(r#""behaviour":"ready""#), "{restored}");
        said(&(self.tale(&[create, update, removal]), hashes, restored))
    }

    async fn vain(&mut self) -> String {
        let world = self.world;
        let failing = self.ordered(world.order("rollback", "fails")).await;
        let cancelled = self.waiting(world.order("rollback", "never")).await;
        world.store.cancel(&scope(), cancelled.id, world.clock.now()).await.unwrap();
        let cancelled = self.through(world.finished(cancelled.id)).await;
        self.through(world.all_told()).await;
        assert_eq!([failing.state, cancelled.state], [OrderState::RolledBack, OrderState::Cancelled]);
        let status = world.release(failing.release.unwrap()).await.status;
        assert_eq!((status.state, status.applied), (ReleaseState::Absent, None));
        self.tale(&[failing, cancelled])
    }

    async fn kept(&mut self, product: &str) -> String {
        let world = self.world;
        let create = self.ordered(world.order(product, "ready")).await;
        let release = create.release.unwrap();
        let update = self.ordered(world.order(product, "fails")).await;
        let left = world.release(release).await.status;
        let state = if product == "freeze" { ReleaseState::Frozen } else { ReleaseState::Degraded };
        assert_eq!((left.state, left.ready, left.applied), (state, Some(1), Some(2)));
        let back = Order { action: Action::Rollback, to_revision: Some(1), ..world.order(product, "ready") };
        let back = self.ordered(back).await;
        let superseded = self.waiting(world.order(product, "never")).await;
        let newest = self.ordered(world.order(product, "ready 3")).await;
        let superseded = world.get(superseded.id).await;
        let number = world.until("it runs", async || {
            let running = world.target.running(release);
            (running.len() == 1).then(|| running[0].manifests[0].0["spec"]["number"].clone())
        });
        assert_eq!(self.through(number).await, 3);
        let removal = Order { action: Action::Remove, ..world.order(product, "ready") };
        let removal = self.ordered(removal).await;
        self.through(world.all_told()).await;
        let orders = [create, update, back, superseded, newest, removal];
        use OrderState::{Failed, Ready, Removed, Superseded};
        let states: Vec<_> = orders.iter().map(|order| order.state).collect();
        assert_eq!(states, [Ready, Failed, Ready, Superseded, Ready, Removed]);
        self.tale(&orders)
    }

    /// How each order ended, and what was told of it.
    fn tale(&self, orders: &[Order]) -> String {
        let numbers = |text: &str| {
            let ids = orders.iter().enumerate();
            ids.fold(text.to_owned(), |text, (n, order)| text.replace(&order.id.to_string(), &n.to_string()))
        };
        let tale = orders.iter().map(|order| {
            let reason = order.reason.as_deref().map(numbers);
            (order.state, reason, order.revision, order.removed.clone(), self.world.told_of(order.id))
        });
        said(&tale.collect::<Vec<_>>())
    }
}

fn said(what: &impl Debug) -> String {
    format!("{what:#?}")
}

async fn live(story: Story, death: Option<Death>, cut: Option<Cut>, vanish: bool) -> Lived {
    let world = World::new();
    if let Some(cut) = cut {
        world.target.cut_at(cut);
    }
    let dying = world.dying(death);
    let running = Some(world.start_with(dying.clone(), World::options()));
    let mut life = Life { world: &world, running, dying, vanish, deaths: 0 };
    let end = match story {
        Story::RolledBack => life.rolled_back().await,
        Story::Vain => life.vain().await,
        Story::Kept(product) => life.kept(product).await,
    };
    life.end().await;
    let about = format!("{story:?}, {death:?}, {cut:?}, what ran vanished: {vanish}");
    assert_eq!(world.target.all_running(), 0, "{about}");
    assert_eq!(world.keys.live(), [""; 0], "{about}: no key is left");
    assert!(world.target.most().0 <= 1, "{about}: two copies ran at once");
    let (writes, calls, halves) = (life.dying.writes(), world.target.calls(), world.target.halves());
    Lived { end, deaths: life.deaths, writes, calls, halves }
}

/// Kills one life at each of its writes.
async fn killed_at_any_write(story: Story, death: fn(u64) -> Death, vanish: bool) {
    let undisturbed = live(story, None, None, vanish).await;
    for n in 1.. {
        let lived = live(story, Some(death(n)), None, vanish).await;
        assert_eq!(lived.end, undisturbed.end, "{:?} in {story:?}, what ran vanished: {vanish}", death(n));
        if lived.deaths == 0 {
            assert!(lived.writes < n && n > 20, "not killed at write {n} of {}", lived.writes);
            break;
        }
    }
}

/// Kills one life in each of its calls of the target.
async fn killed_in_any_call(story: Story, vanish: bool) {
    let undisturbed = live(story, None, None, vanish).await;
    assert!(undisturbed.halves.len() >= 3, "{:?}", undisturbed.halves);
    for cut in [Cut::Before, Cut::After] {
        for n in 1.. {
            let lived = live(story, None, Some(cut(n)), vanish).await;
            assert_eq!(lived.end, undisturbed.end, "{:?} in {story:?}, what ran vanished: {vanish}", cut(n));
            if lived.deaths == 0 {
                assert!(lived.calls < n && n > 5, "not killed in call {n} of {}", lived.calls);
                break;
            }
        }
    }
    for n in undisturbed.halves {
        let lived = live(story, None, Some(Cut::Half(n)), vanish).await;
        assert_eq!(lived.end, undisturbed.end, "half of {n} in {story:?}, what ran vanished: {vanish}");
        assert_eq!(lived.deaths, 1, "not killed in half of call {n}");
    }
}

#[tokio::test]
async fn killed_at_any_write_the_work_converges_to_the_same_end() {
    killed_at_any_write(Story::RolledBack, Death::Before, false).await;
    killed_at_any_write(Story::RolledBack, Death::After, false).await;
}

#[tokio::test]
async fn killed_at_any_write_with_all_that_ran_the_work_converges_to_the_same_end() {
    killed_at_any_write(Story::RolledBack, Death::Before, true).await;
}

#[tokio::test]
async fn killed_at_any_write_a_failed_first_order_and_a_cancelled_one_leave_nothing() {
    killed_at_any_write(Story::Vain, Death::Before, false).await;
    killed_at_any_write(Story::Vain, Death::After, true).await;
}

#[tokio::test]
async fn killed_at_any_write_what_is_frozen_and_superseded_comes_to_the_same_end() {
    killed_at_any_write(Story::Kept("freeze"), Death::Before, true).await;
}

#[tokio::test]
async fn killed_at_any_write_what_is_kept_and_superseded_comes_to_the_same_end() {
    killed_at_any_write(Story::Kept("keep"), Death::After, false).await;
}

#[tokio::test]
async fn killed_in_any_call_of_the_target_the_work_converges_to_the_same_end() {
    for vanish in [false, true] {
        killed_in_any_call(Story::RolledBack, vanish).await;
    }
    killed_in_any_call(Story::Vain, false).await;
}
