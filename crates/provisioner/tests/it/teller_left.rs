//! Releases whose target is not configured any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use orderwire_provisioner::{AcceptError, OrderRequest, Parts, Provisioner};
use orderwire_store::Orders as _;
use orderwire_types::{Action, OrderState, ReleaseState};

use crate::accept_kit::request;
use crate::reconcile_world::{World, scope};

const GONE: &str = "target local is not configured on this server";

#[tokio::test]
async fn what_is_on_a_target_that_is_gone_says_so_and_goes_on_when_it_is_back() {
    let world = World::new();
    let running = world.start();
    let first = world.ordered("rollback", "ready").await;
    assert_eq!(first.state, OrderState::Ready);
    running.stop().await;
    let order = world.accept(world.order("rollback", "ready 2")).await;
    let release = order.release.unwrap();

    let without = || Parts { targets: Arc::new(BTreeMap::new()), ..world.parts(world.dying(None)) };
    let running = World::start_on(without(), World::options());
    let says_why = async || {
        let order = world.get(order.id).await;
        order.reason.filter(|reason| reason.starts_with(&format!("waiting: {GONE}")))
    };
    world.until("the order says why it waits", says_why).await;
    world.store.cancel(&scope(), order.id, world.clock.now()).await.unwrap();
    let cancelled = world.finished(order.id).await;
    assert_eq!(cancelled.state, OrderState::Cancelled);
    assert!(cancelled.reason.is_some_and(|reason| reason.contains(GONE)));
    let degraded = |release: &orderwire_store::orders::Release| {
        release.status.state == ReleaseState::Degraded
            && release.status.reason.as_ref().is_some_and(|reason| reason.starts_with(GONE))
    };
    world.release_where(release, "the release says why it is degraded", degraded).await;
    let removal =
        OrderRequest { product: None, name: Some("air".to_owned()), action: Action::Remove, ..request(1) };
    match Provisioner::new(without()).accept(removal).await {
        Err(AcceptError::Invalid(faults)) => {
            let detail = "release air is on target local, which is not configured on this server; \
                          configure it again";
            assert_eq!(faults[0].detail, detail);
        }
        other => panic!("{other:?}"),
    }
    running.stop().await;

    let running = world.start();
    let ready = |release: &orderwire_store::orders::Release| release.status.state == ReleaseState::Ready;
    world.release_where(release, "its target is back", ready).await;
    running.stop().await;

    // An order that only waits goes on, too.
    let order = world.accept(world.order("rollback", "ready 3")).await;
    let running = World::start_on(without(), World::options());
    world
        .until("it waits", async || {
            let order = world.get(order.id).await;
            order.reason.filter(|reason| reason.starts_with("waiting: "))
        })
        .await;
    running.stop().await;
    let running = world.start();
    assert_eq!(world.finished(order.id).await.state, OrderState::Ready);
    running.stop().await;
}
