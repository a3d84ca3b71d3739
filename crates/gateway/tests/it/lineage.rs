//! Where resources of releases come from, and how much one answer tells.

use std::collections::BTreeSet;

use orderwire_store::orders::{Acceptance, Advance, NewOrder, Order, ResourceName, Revision};
use orderwire_store::testkit::sample_order;
use orderwire_types::step::Step;
use orderwire_types::{EventId, OrderState, RawJson, TraceId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::Server;

/// The most resources of an answer.
const RESOURCES_MAX: usize = 1_000;

/// Makes so many revisions of one release, each by an order of the trace that `trace` says, with so
/// many objects; the release.
async fn revisions(server: &Server, count: u64, trace: impl Fn(u64) -> TraceId, objects: usize) -> Uuid {
    let mut release = None;
    for number in 1..=count {
        let at = server.time.now();
        let mut order = sample_order(EventId(Uuid::from_u128(number.into())), at);
        order.trace = trace(number);
        let step = Step { event_id: Some(order.id.0), ..Step::ok(at, "provisioner", "accepted") };
        let new = NewOrder { order, record_refused: false, steps: vec![step] };
        let Acceptance::New(Order { id, trace, .. }) = server.store.accept(new).await.unwrap() else {
            panic!("it is new")
        };
        let later = at + std::time::Duration::from_secs(30);
        let work = server.store.claim("local", 1, at, later).await.unwrap().remove(0);
        let revision = Revision {
            number,
            hash: String::new(),
            content: RawJson::parse("{}".to_owned()).unwrap(),
            order: id,
            trace,
            created_at: at,
            ready_at: None,
        };
        let resource = |n| ResourceName { kind: "Process".to_owned(), name: format!("{number:03}-{n:03}") };
        let advance = Advance {
            at,
            state: Some((OrderState::Ready, None)),
            revision: Some(number),
            new_revision: Some(revision),
            resources: (0..objects).map(resource).collect(),
            ..Advance::default()
        };
        release = Some(work.release.id);
        server.store.advance(work.lease, id, advance).await.unwrap();
        server.store.hand_back(work.lease, None).await.unwrap();
    }
    release.unwrap()
}

/// The names of the resources of an answer, each of whose links has a node at both ends.
fn resources(graph: &Value) -> BTreeSet<String> {
    let nodes: BTreeSet<&str> =
        graph["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
    for link in graph["links"].as_array().unwrap() {
        for end in [&link["from"], &link["to"]] {
            assert!(nodes.contains(end.as_str().unwrap()), "{end} is no node of {link}");
        }
    }
    let resources = nodes.iter().filter(|id| id.starts_with("resource/"));
    resources.map(|id| id.rsplit('/').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn of_a_release_with_many_revisions_the_newest_are_told_and_every_link_has_its_ends() {
    let server = Server::start().await;
    let release = revisions(&server, 103, |n| TraceId::from_uuid(Uuid::from_u128(n.into())), 20).await;
    let graph = server.get(&format!("/v1/lineage?release={release}")).await.ok(200);
    let found = resources(&graph);
    assert_eq!((found.len(), &graph["cut"]), (RESOURCES_MAX, &json!(true)));
    // Fifty revisions are a thousand.
    assert!(found.iter().all(|name| name.as_str() > "053"), "{found:?}");
    // One that is older than the revisions that are looked up leads to its revision all the same.
    let graph = server.get("/v1/lineage?resource=001-007").await.ok(200);
    assert_eq!(resources(&graph), BTreeSet::from(["001-007".to_owned()]));
}

#[tokio::test]
async fn an_answer_tells_so_many_resources_of_all_revisions_together() {
    let server = Server::start().await;
    let trace = TraceId::from_uuid(Uuid::from_u128(7));
    revisions(&server, 3, |_| trace.clone(), 400).await;
    let graph = server.get("/v1/lineage?resource=003-399").await.ok(200);
    assert_eq!(graph["cut"], false);
    let graph = server.get(&format!("/v1/traces/{}/lineage", trace.id)).await.ok(200);
    assert_eq!((resources(&graph).len(), &graph["cut"]), (RESOURCES_MAX, &json!(true)));
}
