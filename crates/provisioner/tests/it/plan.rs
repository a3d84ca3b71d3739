//! What an order would do, told without doing it.

use orderwire_api::wire::OrderPlan;
use orderwire_provisioner::{AcceptError, OrderRequest};
use orderwire_store::Orders as _;
use orderwire_types::Action;
use serde_json::json;

use crate::accept_kit::{Kit, json, kit, request, scope};

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
