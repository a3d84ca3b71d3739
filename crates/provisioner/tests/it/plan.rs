//! What an order would do, told without doing it.

use orderwire_api::wire::OrderPlan;
use orderwire_provisioner::content::Content;
use orderwire_provisioner::{AcceptError, OrderRequest};
use orderwire_store::Orders as _;
use orderwire_store::orders::{Advance, ReleaseStatus, Revision};
use orderwire_types::{Action, OrderState, RawJson, ReleaseState};
use serde_json::json;

use crate::accept_kit::{Kit, json, kit, request, scope, start};

async fn plan(kit: &Kit, request: OrderRequest) -> OrderPlan {
    kit.provisioner.plan(request).await.unwrap()
}

/// The hash of the one secret; another one with every store.
fn secret_hash(plan: &OrderPlan) -> String {
    let secrets = plan.changes.iter().find(|change| change.field == "/secrets").unwrap();
    secrets.new.as_ref().unwrap()["TOKEN"].as_str().unwrap().to_owned()
}

/// Nothing was recorded beside this many releases, and the target only asked.
async fn untouched(kit: &Kit, releases: usize) {
    let there = kit.store.releases(&scope(), &Default::default(), None, 10).await.unwrap();
    assert_eq!(there.len(), releases);
    let calls = kit.calls.lock().unwrap();
    assert!(calls.iter().all(|call| call == "check" || call == "plan"), "{calls:?}");
}

#[tokio::test]
async fn a_plan_shows_what_a_new_release_would_be_and_makes_nothing() {
    let kit = kit();
    let evil = "x\n---\nkind: Pod";
    let plan = plan(&kit, OrderRequest { parameters: Some(json!({ "label": evil })), ..request(1) }).await;
    assert_eq!(plan.outcome, "create");
    let manifest = plan.changes.iter().find(|change| change.field == "/manifests").unwrap();
    let label = manifest.new.as_ref().unwrap().pointer("/0/spec/environment/LABEL").unwrap();
    assert_eq!(label, evil);
    let text = serde_json::to_string_pretty(&plan).unwrap();
    insta::assert_snapshot!(text.replace(&secret_hash(&plan), "[hash]"));
    untouched(&kit, 0).await;
    assert_eq!(kit.store.orders(&scope(), &Default::default(), None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_plan_names_what_policy_refuses() {
    let kit = kit();
    kit.accepted(request(1)).await;
    type Change = fn(&mut OrderRequest);
    let cases: [(Change, usize); 10] = [
        (|r| r.action = Action::Create, 1),
        (|r| (r.name, r.action) = (Some("other".into()), Action::Update), 1),
        (|r| (r.product, r.name, r.action) = (None, Some("other".into()), Action::Remove), 1),
        (|r| (r.name, r.product) = (Some("sensor".into()), Some("web".into())), 1),
        (|r| r.namespace = Some("elsewhere".into()), 1),
        (|r| (r.client, r.namespace) = ("rival".parse().unwrap(), Some("acme".into())), 1),
        (|r| r.environment = Some("production".into()), 1),
        (|r| (r.environment, r.namespace) = (Some("qa".into()), Some("kube-system".into())), 2),
        (|r| r.parameters = json(r#"{"command":"forbidden"}"#), 1),
        (|r| r.parameters = json(r#"{"command":"refused"}"#), 1),
    ];
    let mut said = Vec::new();
    for (number, (change, reasons)) in (2..).zip(cases) {
        let mut request = request(number);
        change(&mut request);
        let plan = plan(&kit, request).await;
        assert_eq!((plan.outcome.as_str(), plan.refused.len()), ("refused", reasons), "{plan:?}");
        said.extend(plan.refused);
    }
    insta::assert_snapshot!(said.join("\n"));
    untouched(&kit, 1).await;
}

#[tokio::test]
async fn a_plan_of_a_malformed_order_tells_every_fault() {
    let kit = kit();
    let request = OrderRequest {
        product: Some("mainframe".into()),
        environment: Some("moon".into()),
        parameters: json("[]"),
        ..request(1)
    };
    match kit.provisioner.plan(request).await {
        Err(AcceptError::Invalid(faults)) => {
            let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
            assert_eq!(pointers, ["/environment", "/product", "/parameters"]);
        }
        other => panic!("{other:?}"),
    }
    untouched(&kit, 0).await;
}

#[tokio::test]
async fn the_same_order_has_the_same_content_whoever_asks_again() {
    let kit = kit();
    let one = plan(&kit, request(1)).await;
    let two = plan(&kit, OrderRequest { principal: "key:2".into(), ..request(2) }).await;
    assert_eq!(one.changes, two.changes);
    assert_eq!(serde_json::to_value(&one).unwrap(), serde_json::to_value(&two).unwrap());
}

#[tokio::test]
async fn a_secret_is_in_a_plan_only_as_a_hash_that_follows_it() {
    let kit = kit();
    let before = plan(&kit, request(1)).await;
    assert!(!serde_json::to_string(&before).unwrap().contains("hush"));
    assert_eq!(secret_hash(&before).len(), 64);
    std::fs::write(kit.folder.path().join("secret"), "louder").unwrap();
    assert_ne!(secret_hash(&plan(&kit, request(2)).await), secret_hash(&before));
    std::fs::remove_file(kit.folder.path().join("secret")).unwrap();
    let without = plan(&kit, request(3)).await;
    assert_eq!(without.outcome, "refused");
    assert!(without.refused[0].starts_with("secret TOKEN: "), "{:?}", without.refused);
}

/// Does the order that is accepted as if its content, which a plan has shown whole, were
/// ready at once.
async fn make_ready(kit: &Kit, plan: &OrderPlan) {
    let members =
        plan.changes.iter().map(|change| (change.field[1..].to_owned(), change.new.clone().unwrap()));
    let content: Content = serde_json::from_value(members.collect()).unwrap();
    let until = start() + std::time::Duration::from_secs(60);
    let claimed = kit.store.claim("local", 1, start(), until).await.unwrap().remove(0);
    let order = claimed.order.unwrap();
    let revision = Revision {
        number: 1,
        hash: content.hash(),
        content: RawJson::of(&content).unwrap(),
        order: order.id,
        trace: order.trace,
        created_at: start(),
        ready_at: None,
    };
    let status = ReleaseStatus {
        state: ReleaseState::Ready,
        ready: Some(1),
        applied: Some(1),
        ..claimed.release.status.clone()
    };
    let advance = Advance {
        at: start(),
        state: Some((OrderState::Ready, None)),
        revision: Some(1),
        new_revision: Some(revision),
        became_ready: Some(1),
        status: Some(status),
        ..Advance::default()
    };
    kit.store.advance(claimed.lease, order.id, advance).await.unwrap();
    kit.store.hand_back(claimed.lease, None).await.unwrap();
}

#[tokio::test]
async fn a_plan_for_a_release_that_is_ready_tells_what_would_differ() {
    let kit = kit();
    let new = plan(&kit, request(1)).await;
    kit.accepted(request(1)).await;
    make_ready(&kit, &new).await;

    let same = plan(&kit, request(2)).await;
    assert_eq!((same.outcome.as_str(), same.changes.len()), ("unchanged", 0), "{same:?}");

    let other = plan(&kit, OrderRequest { parameters: json(r#"{"interval":9}"#), ..request(3) }).await;
    assert_eq!(other.outcome, "update");
    let changes = other.changes.iter().map(|c| format!("{} {:?} -> {:?}", c.field, c.old, c.new));
    insta::assert_snapshot!(changes.collect::<Vec<_>>().join("\n"));

    let back = OrderRequest { action: Action::Rollback, to_revision: Some(1), ..request(4) };
    assert_eq!(plan(&kit, back.clone()).await.outcome, "unchanged");
    std::fs::write(kit.folder.path().join("secret"), "louder").unwrap();
    let rotated = plan(&kit, back).await;
    let fields: Vec<_> = rotated.changes.iter().map(|change| change.field.as_str()).collect();
    assert_eq!((rotated.outcome.as_str(), fields), ("update", vec!["/secrets/TOKEN"]));

    let removal =
        OrderRequest { product: None, name: Some("sensor".into()), action: Action::Remove, ..request(5) };
    assert_eq!(plan(&kit, removal).await.outcome, "remove");
    untouched(&kit, 1).await;
}
