//! Reading orders and releases, and dropping what is old.

use std::sync::Arc;
use std::time::Duration;

use orderwire_types::{Action, OrderState, ReleaseState, Scope};
use uuid::Uuid;

use super::super::Factory;
use super::super::kit::{Outcome, all, at, client, holds, only, same, strings};
use super::super::orders::{accepted, claimed, finish, found, order, order_id, remove, revision, status, to};
use super::case_list;
use crate::orders::{
    Advance, NewOrder, OrderFilter, ReleaseFilter, ResourceFilter, ResourceName, RevisionResource,
    TraceOrders,
};
use crate::traits::Store;

case_list![
    orders_of_other_clients_are_not_there,
    orders_are_listed_newest_first,
    releases_are_listed_by_name,
    orders_of_a_trace_are_counted,
    resources_lead_back_to_their_release,
    the_hash_key_is_made_once,
    sweeping_keeps_what_is_needed,
];

use Action::{Apply, Remove};

async fn orders_of_other_clients_are_not_there(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let new = order(1, "a", "web", Apply, 1);
    let trace = new.order.trace.id;
    accepted(&store, new).await?;
    let work = claimed(&store, 1).await?;
    let mut advance = to(1, OrderState::Planned);
    advance.journal = vec![("plan".to_owned(), "begun".to_owned(), None)];
    store.advance(work.lease, order_id(1), advance).await?;
    store.hand_back(work.lease, Some(at(1))).await?;
    let release = finish(&store, 2).await?.id;
    let mut second = order(2, "a", "web", Apply, 3);
    second.order.trace.id = trace;
    accepted(&store, second).await?;
    let everything = async |scope: &Scope| -> Outcome<Vec<usize>> {
        let filter = ReleaseFilter { clients: Some(vec![client("a")]), ..ReleaseFilter::default() };
        let traced = store.trace_orders(scope, trace).await?;
        Ok(vec![
            store.order(scope, order_id(1)).await?.iter().len(),
            store.orders(scope, &OrderFilter::default(), None, 9).await?.len(),
            store.journal(scope, order_id(1), 0, 9).await?.len(),
            store.release(scope, release).await?.iter().len(),
            store.releases(scope, &ReleaseFilter::default(), None, 9).await?.len(),
            store.releases(scope, &filter, None, 9).await?.len(),
            store.revision(scope, release, 1).await?.iter().len(),
            store.revisions(scope, release, None, 9).await?.len(),
            usize::from(traced != TraceOrders::default()),
        ])
    };
    let inside = vec![1, 2, 1, 1, 1, 1, 1, 1, 1];
    for clients in [&["a"][..], &["a", "b"]] {
        same("inside", everything(&only(clients)).await?, inside.clone())?;
    }
    for clients in [&["b"][..], &[]] {
        same("outside", everything(&only(clients)).await?, vec![0; 9])?;
    }
    let after = store.orders(&only(&["b"]), &OrderFilter::default(), Some(order_id(2)), 9).await?;
    same("after one outside", after, Vec::new())
}

async fn ids(store: &Arc<dyn Store>, filter: OrderFilter) -> Outcome<String> {
    let mut all_of_them: Vec<String> = Vec::new();
    let mut after = None;
    // A page each, so that the cursor is tried at every place.
    loop {
        let page = store.orders(&all(), &filter, after, 2).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        all_of_them.extend(page.iter().map(|order| order.id.0.as_u128().to_string()));
    }
    Ok(all_of_them.join(" "))
}

async fn orders_are_listed_newest_first(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    // Two of one moment: by id then.
    for (n, owner, second) in [(1, "a", 5), (2, "b", 1), (3, "a", 1), (4, "c", 9)] {
        let replayed = NewOrder { record_refused: true, ..order(n, owner, "web", Apply, second) };
        accepted(&store, replayed).await?;
    }
    let mut other = order(5, "c", "other", Apply, 7);
    "db".clone_into(&mut other.order.product);
    "prod".clone_into(&mut other.order.environment);
    "c-prod".clone_into(&mut other.order.namespace);
    let other = accepted(&store, other).await?;
    let filter = OrderFilter::default;
    same("all", ids(&store, filter()).await?, "4 5 1 3 2".to_owned())?;
    same(
        "trace",
        ids(&store, OrderFilter { trace: Some(other.trace.id), ..filter() }).await?,
        "5".to_owned(),
    )?;
    same("release", ids(&store, OrderFilter { release: other.release, ..filter() }).await?, "5".to_owned())?;
    let product = OrderFilter { product: Some("web".to_owned()), ..filter() };
    same("product", ids(&store, product.clone()).await?, "4 1 3 2".to_owned())?;
    let environment = OrderFilter { environment: Some("prod".to_owned()), ..filter() };
    same("environment", ids(&store, environment).await?, "5".to_owned())?;
    // Order 3 came later but was asked for earlier.
    let state = OrderFilter { state: Some(OrderState::Superseded), ..filter() };
    same("state", ids(&store, state.clone()).await?, "3".to_owned())?;
    let both = OrderFilter { product: product.product, ..state };
    same("both", ids(&store, both).await?, "3".to_owned())?;
    let some = store.orders(&only(&["a", "b"]), &filter(), Some(order_id(1)), 9).await?;
    let some: Vec<_> = some.iter().map(|order| order.id).collect();
    same("of two clients", some, vec![order_id(3), order_id(2)])
}

async fn names(store: &Arc<dyn Store>, filter: ReleaseFilter) -> Outcome<String> {
    let mut all_of_them: Vec<String> = Vec::new();
    let mut after = None;
    loop {
        let page = store.releases(&all(), &filter, after, 2).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        all_of_them.extend(
            page.iter().map(|found| format!("{}/{}/{}", found.client, found.environment, found.name)),
        );
    }
    Ok(all_of_them.join(" "))
}

async fn releases_are_listed_by_name(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    accepted(&store, order(1, "b", "web", Apply, 1)).await?;
    finish(&store, 1).await?;
    accepted(&store, order(2, "b", "web", Remove, 2)).await?;
    let gone = remove(&store, 2).await?;
    same("removed", gone.status.state, ReleaseState::Removed)?;
    accepted(&store, order(3, "b", "web", Apply, 3)).await?;
    accepted(&store, order(4, "b", "app", Apply, 3)).await?;
    let mut prod = order(5, "a", "web", Apply, 4);
    "prod".clone_into(&mut prod.order.environment);
    "u".clone_into(&mut prod.order.target);
    accepted(&store, prod).await?;
    let mut db = order(6, "a", "zoo", Apply, 4);
    "db".clone_into(&mut db.order.product);
    accepted(&store, db).await?;
    let filter = ReleaseFilter::default;
    let text = |text: &str| Some(text.to_owned());
    for (filter, expected) in [
        (filter(), "a/dev/zoo a/prod/web b/dev/app b/dev/web"),
        (ReleaseFilter { removed: true, ..filter() }, "a/dev/zoo a/prod/web b/dev/app b/dev/web b/dev/web"),
        (ReleaseFilter { clients: Some(vec![client("b"), client("z")]), ..filter() }, "b/dev/app b/dev/web"),
        (ReleaseFilter { clients: Some(Vec::new()), ..filter() }, ""),
        (ReleaseFilter { name: text("web"), ..filter() }, "a/prod/web b/dev/web"),
        (ReleaseFilter { environment: text("prod"), ..filter() }, "a/prod/web"),
        (ReleaseFilter { product: text("db"), ..filter() }, "a/dev/zoo"),
        (ReleaseFilter { target: text("u"), name: text("web"), ..filter() }, "a/prod/web"),
    ] {
        let what = format!("{filter:?}");
        same(&what, names(&store, filter).await?, expected.to_owned())?;
    }
    Ok(())
}

async fn orders_of_a_trace_are_counted(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let trace = order(1, "a", "x", Apply, 1).order.trace;
    let traced = |new: NewOrder| {
        let mut new = new;
        new.order.trace = trace.clone();
        new
    };
    for (n, owner, name) in [(1, "a", "x"), (2, "a", "y"), (3, "a", "z"), (4, "b", "x")] {
        accepted(&store, traced(order(n, owner, name, Apply, 1))).await?;
    }
    accepted(&store, order(5, "a", "other", Apply, 1)).await?;
    for state in [OrderState::RolledBack, OrderState::Failed, OrderState::Ready] {
        // Of client a alone, so that one of b stays open.
        let work = loop {
            let work = claimed(&store, 1).await?;
            let other = work.release.client == client("b") || work.release.name == "other";
            if !other {
                break work;
            }
        };
        let order = found(work.order)?;
        store.advance(work.lease, order.id, to(2, state)).await?;
    }
    same("all", store.trace_orders(&all(), trace.id).await?, TraceOrders { open: 1, failed: 2 })?;
    same("of one", store.trace_orders(&only(&["b"]), trace.id).await?, TraceOrders { open: 1, failed: 0 })
}

/// Does all the work of the order that is due: a revision with these objects.
async fn with_objects(store: &Arc<dyn Store>, second: i64, objects: &[(&str, &str)]) -> Outcome<Uuid> {
    let work = claimed(store, second).await?;
    let order = found(work.order)?;
    let number = work.release.revisions + 1;
    let resource =
        |(kind, name): &(&str, &str)| ResourceName { kind: (*kind).to_owned(), name: (*name).to_owned() };
    let advance = Advance {
        revision: Some(number),
        new_revision: Some(revision(&order, number, second)),
        resources: objects.iter().map(resource).collect(),
        became_ready: Some(number),
        status: Some(status(ReleaseState::Ready, Some(number))),
        ..to(second, OrderState::Ready)
    };
    store.advance(work.lease, order.id, advance).await?;
    store.hand_back(work.lease, None).await?;
    Ok(work.release.id)
}

async fn resources_lead_back_to_their_release(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    accepted(&store, order(1, "a", "web", Apply, 1)).await?;
    let (most, more) = ("n".repeat(ResourceName::BYTES_MAX - 1), "n".repeat(10_000));
    // Those without a kind or name, and those with very long ones, are left out.
    let left_out = [("", "web"), ("Volume", ""), ("Kk", most.as_str()), ("K", &more)];
    let kept = [("Process", "web"), ("Process", "odd\\0\0"), ("Volume", "web"), ("K", most.as_str())];
    let web = with_objects(&store, 1, &[&kept[..], &left_out].concat()).await?;
    accepted(&store, order(2, "a", "web", Apply, 2)).await?;
    with_objects(&store, 2, &[("Process", "web"), ("Process", "web")]).await?;
    accepted(&store, order(3, "b", "web", Apply, 3)).await?;
    let other = with_objects(&store, 3, &[("Process", "web")]).await?;
    drop(store);
    let store = factory.open().await?;
    let list = async |scope: &Scope, filter: ResourceFilter, max: usize| -> Outcome<Vec<String>> {
        let shown = |found: RevisionResource| {
            let release = if found.release == web { "web" } else { "other" };
            let ResourceName { kind, name } = found.resource;
            format!("{kind} {name:?} of {} {release} {}", found.client, found.revision)
        };
        Ok(store.resources(scope, &filter, max).await?.into_iter().map(shown).collect())
    };
    let named = |name: &str| ResourceFilter { name: Some(name.to_owned()), ..ResourceFilter::default() };
    let of_a = ["Process \"web\" of a web 2", "Process \"web\" of a web 1"];
    let of_b = "Process \"web\" of b other 1";
    let volume = "Volume \"web\" of a web 1";
    let by_release = if web < other { [of_a[0], of_a[1], of_b] } else { [of_b, of_a[0], of_a[1]] };
    same("by name", list(&all(), named("web"), 9).await?, strings(&[&by_release[..], &[volume]].concat()))?;
    same("at most", list(&all(), named("web"), 2).await?, strings(&by_release[..2]))?;
    let process = ResourceFilter { kind: Some("Process".to_owned()), ..named("web") };
    same("of a kind", list(&only(&["a"]), process.clone(), 9).await?, strings(&of_a))?;
    same("outside", list(&only(&["c"]), process, 9).await?, Vec::new())?;
    same("an odd name", list(&all(), named("odd\\0\0"), 9).await?.len(), 1)?;
    let of_web = |revision| ResourceFilter { release: Some(web), revision, ..ResourceFilter::default() };
    let of_release = list(&all(), of_web(None), 9).await?;
    same("of a release", of_release.len(), 5)?;
    same("the newest revision first", &of_release[0], &of_a[0].to_owned())?;
    same("at most of a release", list(&all(), of_web(None), 1).await?, strings(&of_a[..1]))?;
    same("of the greatest length", list(&all(), named(&most), 9).await?.len(), 1)?;
    same("of a revision", list(&all(), of_web(Some(2)), 9).await?, strings(&of_a[..1]))?;
    // They go with their revision.
    store.told(i64::MAX).await?;
    store.sweep_orders(at(100), 1, FOREVER, 99).await?;
    same("swept", list(&all(), of_web(None), 9).await?, strings(&of_a[..1]))
}

async fn the_hash_key_is_made_once(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    let key = store.hash_key().await?;
    holds("it is not empty", key != [0; 32])?;
    holds("its halves differ", key[..16] != key[16..])?;
    same("again", store.hash_key().await?, key)?;
    drop(store);
    let store = factory.open().await?;
    same("after opening again", store.hash_key().await?, key)
}

const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

async fn sweeping_keeps_what_is_needed(factory: Arc<dyn Factory>) -> Outcome {
    let store = factory.open().await?;
    for n in 1..=5 {
        accepted(&store, order(n, "a", "web", Apply, n.into())).await?;
        finish(&store, n.into()).await?;
    }
    accepted(&store, order(6, "a", "gone", Apply, 6)).await?;
    finish(&store, 6).await?;
    accepted(&store, order(7, "a", "gone", Remove, 7)).await?;
    let gone = remove(&store, 7).await?.id;
    let mut back = order(8, "a", "web", Action::Rollback, 8);
    back.order.to_revision = Some(2);
    accepted(&store, back).await?;
    same("untold orders stay", store.sweep_orders(at(100), 9, FOREVER, 99).await?, 0)?;
    store.told(i64::MAX).await?;
    same("young ones stay", store.sweep_orders(at(1), 9, FOREVER, 99).await?, 0)?;
    // Orders 1 to 4 and 6 of 5 and 7, which are not newest any more.
    same("a piece", store.sweep_orders(at(4), 9, FOREVER, 2).await?, 2)?;
    same("the rest of it", store.sweep_orders(at(4), 9, FOREVER, 2).await?, 1)?;
    same("no more", store.sweep_orders(at(4), 9, FOREVER, 2).await?, 0)?;
    holds("the removed release stays", store.release(&all(), gone).await?.is_some())?;
    // Orders 4 to 7 and the removed release with all that it has.
    same("more", store.sweep_orders(at(100), 9, FOREVER, 99).await?, 5)?;
    same("the removed release", store.release(&all(), gone).await?, None)?;
    // Revision 5 is ready, 2 is wanted, and of the newest two 4 and 5 stay.
    same("revisions", store.sweep_orders(at(100), 2, FOREVER, 99).await?, 2)?;
    drop(store);
    let store = factory.open().await?;
    same("orders", ids(&store, OrderFilter::default()).await?, "8".to_owned())?;
    let work = claimed(&store, 9).await?;
    let left = store.revisions(&all(), work.release.id, None, 9).await?;
    let numbers: Vec<u64> = left.iter().map(|revision| revision.number).collect();
    same("newest first", numbers, vec![5, 4, 2])?;
    let page = store.revisions(&all(), work.release.id, Some(5), 1).await?;
    same("a page", page, left[1..2].to_vec())?;
    let told = store.untold(9).await?.len();
    same("told of the last", told, 0)?;
    store.advance(work.lease, order_id(8), to(9, OrderState::Failed)).await?;
    store.sweep_orders(at(1), 9, FOREVER, 9).await?;
    same("kept", store.untold(9).await?.len(), 1)?;
    store.sweep_orders(at(1), 9, Duration::ZERO, 9).await?;
    same("nobody asked", store.untold(9).await?.len(), 0)?;
    holds("the newest order stays", store.order(&all(), order_id(8)).await?.is_some())
}
