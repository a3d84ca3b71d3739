//! Orders as they are asked for: what is refused and what is recorded.

use std::fmt::Write as _;

use jiff::ToSpan as _;
use orderwire_provisioner::{OrderRequest, requested_action};
use orderwire_store::Orders as _;
use orderwire_store::orders::Acceptance;
use orderwire_types::{Action, OrderState};
use serde_json::{Value, json};

use crate::accept_kit::{json, kit, request, scope, start};

type Change = fn(&mut OrderRequest);

#[tokio::test]
async fn what_is_wrong_is_told_at_its_place_and_nothing_is_recorded() {
    let kit = kit();
    let cases: [(&str, Change); 28] = [
        ("a near product", |r| r.product = Some("sensr".into())),
        ("a near alias", |r| r.product = Some("small-modul".into())),
        ("an unknown product", |r| r.product = Some("mainframe".into())),
        ("a product of lines", |r| r.product = Some("sensor\nkind: Pod".into())),
        ("no product", |r| r.product = None),
        ("no product to create", |r| {
            (r.product, r.name, r.action) = (None, Some("x".into()), Action::Create);
        }),
        ("nothing to update", |r| (r.product, r.action) = (None, Action::Update)),
        ("nothing to remove", |r| (r.product, r.action) = (None, Action::Remove)),
        ("a parameter outside its schema", |r| r.parameters = json(r#"{"interval":0}"#)),
        ("an unknown parameter", |r| r.parameters = json(r#"{"intervall":1,"label":5}"#)),
        ("parameters that are text", |r| r.parameters = json(r#""interval""#)),
        ("parameters that are a list", |r| r.parameters = json("[1]")),
        ("too many parameters", |r| r.parameters = Some(json!({ "label": "x".repeat(70_000) }))),
        ("deep parameters", |r| r.parameters = Some(nested(40))),
        ("a namespace that is no label", |r| r.namespace = Some("Acme_1".into())),
        ("a namespace with a path", |r| r.namespace = Some("../kube-system".into())),
        ("a namespace that is too long", |r| r.namespace = Some("n".repeat(64))),
        ("a namespace of Kubernetes", |r| r.namespace = Some("kube-system".into())),
        ("a namespace of OpenShift", |r| r.namespace = Some("openshift-monitoring".into())),
        ("Orderwire's namespace", |r| r.namespace = Some("orderwire".into())),
        ("a namespace like Orderwire's", |r| r.namespace = Some("orderwire-system".into())),
        ("a reserved client", |r| r.client = "kube-system".parse().unwrap()),
        ("a client that is no label", |r| r.client = "Acme.Corp".parse().unwrap()),
        ("a name that is no label", |r| r.name = Some("-x".into())),
        ("an unknown environment", |r| r.environment = Some("moon".into())),
        ("a target of another kind", |r| r.environment = Some("qa".into())),
        ("a target that is not there", |r| r.environment = Some("stage".into())),
        ("everything", |r| {
            r.product = Some("mainframe".into());
            r.name = Some("Two Words".into());
            r.environment = Some("moon".into());
            r.archtype = Some("barge".into());
            r.hardware = Some("abacus".into());
            r.namespace = Some("a: b".into());
            r.parameters = json("5");
        }),
    ];
    let mut said = String::new();
    for (number, (what, change)) in (1..).zip(cases) {
        let mut request = request(number);
        change(&mut request);
        writeln!(said, "# {what}\n{}", kit.refused(request).await).unwrap();
    }
    insta::assert_snapshot!(said);
    assert!(kit.calls.lock().unwrap().is_empty());
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!({ "label": inner }))
}

#[tokio::test]
async fn a_namespace_that_a_template_makes_must_be_a_label() {
    let kit = kit();
    let mut long = request(1);
    long.environment = Some("uat".into());
    long.name = Some("n".repeat(60));
    insta::assert_snapshot!(kit.refused(long).await);
    let mut short = request(2);
    short.environment = Some("UAT".into());
    assert_eq!(kit.accepted(short).await.namespace, "acme-uat-sensor");
}

#[tokio::test]
async fn what_contradicts_what_is_there_is_refused() {
    let kit = kit();
    kit.accepted(request(1)).await;
    let cases: [(&str, Change); 9] = [
        ("create of what is there", |r| r.action = Action::Create),
        ("update of what is not", |r| (r.name, r.action) = (Some("other".into()), Action::Update)),
        ("update by name alone", |r| {
            (r.product, r.name, r.action) = (None, Some("other".into()), Action::Update);
        }),
        ("removal by name alone", |r| {
            (r.product, r.name, r.action) = (None, Some("other".into()), Action::Remove);
        }),
        ("another product", |r| (r.name, r.product) = (Some("sensor".into()), Some("web".into()))),
        ("another namespace", |r| r.namespace = Some("elsewhere".into())),
        ("a namespace of another client", |r| {
            r.client = "rival".parse().unwrap();
            r.namespace = Some("acme".into());
        }),
        ("a namespace of another environment", |r| r.environment = Some("production".into())),
        ("a roll-back to nothing", |r| (r.action, r.to_revision) = (Action::Rollback, Some(7))),
    ];
    let mut said = String::new();
    for (number, (what, change)) in (2..).zip(cases) {
        let mut request = request(number);
        change(&mut request);
        writeln!(said, "# {what}\n{}", kit.refused(request).await).unwrap();
    }
    let mut back = request(20);
    back.action = Action::Rollback;
    writeln!(said, "# a roll-back without an earlier revision\n{}", kit.refused(back).await).unwrap();
    insta::assert_snapshot!(said);
}

#[tokio::test]
async fn words_are_taken_by_alias_and_in_any_case() {
    let kit = kit();
    let order = kit
        .accepted(OrderRequest {
            product: Some("SMALL-module".into()),
            environment: Some("PROD".into()),
            archtype: Some("On-Prem".into()),
            hardware: Some("Classic".into()),
            ..request(1)
        })
        .await;
    assert_eq!(
        (order.product.as_str(), order.name.as_str(), order.environment.as_str()),
        ("sensor", "sensor", "production")
    );
    assert_eq!((order.archtype.as_deref(), order.hardware.as_deref()), (Some("classic"), Some("shared")));
    assert_eq!((order.namespace.as_str(), order.target.as_str()), ("acme", "local"));
    assert_eq!((order.state, order.created_at), (OrderState::Accepted, start()));
    assert_eq!(
        kit.steps(&order.trace).await,
        "accepted ok: apply of release sensor in production, product sensor"
    );
}

#[tokio::test]
async fn the_same_order_twice_is_one_whatever_became_of_the_release() {
    let kit = kit();
    let first = kit.accepted(request(1)).await;
    let mut removal = request(2);
    (removal.product, removal.name, removal.action) = (None, Some("sensor".into()), Action::Remove);
    kit.accepted(removal).await;
    let mut again = request(1);
    again.ordered_at = start() + 1.hour();
    match kit.provisioner.accept(again).await.unwrap() {
        Acceptance::Known(order) => {
            assert_eq!((order.id, order.state), (first.id, OrderState::Superseded));
        }
        other => panic!("{other:?}"),
    }
    let mut other = request(1);
    other.parameters = json(r#"{"interval":9}"#);
    let error = kit.provisioner.accept(other).await.unwrap_err().to_string();
    insta::assert_snapshot!(error, @"another order with this id and another content was accepted before");
}

#[tokio::test]
async fn a_newer_order_supersedes_and_an_older_one_is_superseded() {
    let kit = kit();
    let first = kit.accepted(request(1)).await;
    let event = |number| OrderRequest { is_event: true, ..request(number) };
    let mut older = event(2);
    older.ordered_at = start() - 1.hour();
    assert_eq!(kit.accepted(older).await.state, OrderState::Superseded);
    assert_eq!(kit.order(first.id).await.state, OrderState::Accepted);
    let mut newer = event(3);
    newer.ordered_at = start() + 1.hour();
    let newer = kit.accepted(newer).await;
    assert_eq!(newer.state, OrderState::Accepted);
    assert_eq!(kit.order(first.id).await.state, OrderState::Superseded);
    assert_eq!(kit.release(&newer).await.order, newer.id);
    // Over HTTP somebody waits for it now, whatever the clock says.
    let now = kit.accepted(request(4)).await;
    assert_eq!((now.state, now.ordered_at), (OrderState::Accepted, newer.ordered_at));
}

#[tokio::test]
async fn one_product_under_two_names_is_two_releases() {
    let kit = kit();
    let first = kit.accepted(request(1)).await;
    let second = kit.accepted(OrderRequest { name: Some("second".into()), ..request(2) }).await;
    assert_ne!(first.release, second.release);
    assert_eq!(kit.order(first.id).await.state, OrderState::Accepted);
    assert_eq!(kit.release(&second).await.product, "sensor");
}

#[tokio::test]
async fn a_named_release_is_updated_and_removed_without_its_product() {
    let kit = kit();
    let mut first = request(1);
    first.namespace = Some("special".into());
    first.archtype = Some("edge".into());
    let first = kit.accepted(first).await;
    for (number, action) in [(2, Action::Update), (3, Action::Remove)] {
        let named = OrderRequest { product: None, name: Some("sensor".into()), action, ..request(number) };
        let order = kit.accepted(named).await;
        assert_eq!(
            (order.product.as_str(), order.namespace.as_str(), order.release),
            ("sensor", "special", first.release)
        );
        assert_eq!(order.archtype.is_some(), action == Action::Remove, "{action}");
    }
}

#[tokio::test]
async fn a_hostile_parameter_arrives_as_the_text_that_it_is() {
    let kit = kit();
    let evil = "x\"'\n---\nkind: Pod {{ 7*7 }} ${HOME} {% raw %} \u{0} | - : # \u{202e}";
    let order = kit.accepted(OrderRequest { parameters: Some(json!({ "label": evil })), ..request(1) }).await;
    let stored: Value = serde_json::from_str(kit.order(order.id).await.parameters.get()).unwrap();
    assert_eq!(stored, json!({ "label": evil }));
}

#[tokio::test]
async fn a_hostile_text_in_any_other_member_is_refused_in_one_line() {
    let kit = kit();
    let evils =
        ["a\nb", "a: b", "{{ client }}", "a\"b", "a'b", "../a", "a b", "a\u{0}", "", "é", "-a", "$(id)"];
    let members: [fn(&mut OrderRequest) -> &mut Option<String>; 6] = [
        |r| &mut r.product,
        |r| &mut r.name,
        |r| &mut r.environment,
        |r| &mut r.archtype,
        |r| &mut r.hardware,
        |r| &mut r.namespace,
    ];
    for evil in evils {
        for member in members {
            let mut request = request(1);
            *member(&mut request) = Some(evil.to_owned());
            let said = kit.refused(request).await;
            assert!(!said.contains(['\n', '\u{0}']), "{said:?}");
        }
    }
    let orders = kit.store.orders(&scope(), &Default::default(), None, 10).await.unwrap();
    assert_eq!(orders, []);
}

#[test]
fn actions_are_taken_in_any_case_and_no_other() {
    assert_eq!(requested_action(None), Ok(Action::Apply));
    assert_eq!(requested_action(Some("Remove")), Ok(Action::Remove));
    for other in ["apply", "rollback", "", "drop table"] {
        assert_eq!(requested_action(Some(other)).unwrap_err().pointer, "/action", "{other}");
    }
}
