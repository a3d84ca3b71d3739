//! Events of the queue `infra`: which are orders, and what becomes of those that are
//! wrong.

use orderwire_provisioner::OrderEvents;
use orderwire_queue::{Delivery, DeliveryId, Position};
use orderwire_store::Orders as _;
use orderwire_store::orders::Order;
use orderwire_types::envelope::{Arrival, from_flat, from_json};
use orderwire_types::{Client, Event, EventType, Limits, OrderState};
use orderwire_worker::{Task, TaskHandler as _, Verdict};
use uuid::Uuid;

use crate::accept_kit::{Kit, kit, scope, start};

const REQUESTED: &str = "orderwire.order.requested";

fn arrival<'a>(number: u128, event_type: Option<&'a EventType>, limits: &'a Limits) -> Arrival<'a> {
    Arrival {
        principal: "key:7",
        client: Client::default_client(),
        event_type,
        source: None,
        traceparent: None,
        message_id: None,
        request: None,
        now: start(),
        new_id: Uuid::from_u128(number),
        limits,
    }
}

/// A plain event that may order.
fn event(number: u128, event_type: &str, body: &str) -> Event {
    let event_type: EventType = event_type.parse().unwrap();
    let limits = Limits::default();
    let read = from_json(body.as_bytes(), &arrival(number, Some(&event_type), &limits)).unwrap();
    Event { may_order: true, ..read.event }
}

async fn handle(kit: &Kit, event: &Event) -> Verdict {
    let body = event.encode().into();
    let id = DeliveryId { lane: 0, position: Position(1), lease: 1 };
    let delivery = Delivery { id, attempt: 1, leased_until: start(), body };
    let task = Task { delivery, event: event.clone() };
    OrderEvents::new(kit.provisioner.clone()).handle(&task).await
}

async fn ordered(kit: &Kit, event: &Event) -> Order {
    assert_eq!(handle(kit, event).await, Verdict::Ack);
    kit.order(event.id).await
}

#[tokio::test]
async fn each_form_of_an_event_is_the_same_order() {
    let kit = kit();
    let members =
        r#""environment":"Prod","archtype":"Edge","hardware":"Dedicated","product":"Small-Module","#;
    let rest = r#""namespace":"acme-1","name":"NAME","parameters":{"interval":7}"#;
    let published = "mycompany.producer.event.client.published";
    let attributes = format!(
        r#"{{"client":"acme",{members}{rest},"MessageAttributes":{{"event_type":{{"Type":"String","Value":"{published}"}},
            "trace_id":"9a2ae9de-3f82-4f55-966b-47df50ff51ff"}},"Metadata":{{"host":"h","publisher":"p"}}}}"#
    );
    let cloud = format!(
        r#"{{"specversion":"1.0","id":"1","source":"/s","type":"{published}","client":"acme","data":{{{members}{rest}}}}}"#
    );
    let plain = format!(r#"{{"client":"acme",{members}{rest}}}"#);
    let limits = Limits::default();
    let typed: EventType = published.parse().unwrap();
    let forms = [
        from_json(attributes.replace("NAME", "one").as_bytes(), &arrival(1, None, &limits)),
        from_json(cloud.replace("NAME", "two").as_bytes(), &arrival(2, None, &limits)),
        from_json(plain.replace("NAME", "three").as_bytes(), &arrival(3, Some(&typed), &limits)),
        from_flat(plain.replace("NAME", "four").as_bytes(), &typed, &arrival(4, None, &limits)),
    ];
    for (form, name) in forms.into_iter().zip(["one", "two", "three", "four"]) {
        let event = Event { may_order: true, ..form.unwrap().event };
        let order = ordered(&kit, &event).await;
        assert_eq!((order.state, order.reason.clone()), (OrderState::Accepted, None));
        assert_eq!(
            (order.client.as_str(), order.name.as_str(), order.product.as_str()),
            ("acme", name, "sensor")
        );
        assert_eq!((order.environment.as_str(), order.namespace.as_str()), ("production", "acme-1"));
        assert_eq!((order.archtype.as_deref(), order.hardware.as_deref()), (Some("edge"), Some("dedicated")));
        assert_eq!((order.parameters.get(), order.principal.as_str()), (r#"{"interval":7}"#, "key:7"));
        assert_eq!((order.trace, order.ordered_at), (event.trace, event.accepted_at));
    }
}

#[tokio::test]
async fn an_event_without_product_or_right_is_passed_over_and_says_why() {
    let kit = kit();
    let published = "acme.app.event.order.published";
    let shaped = event(1, published, r#"{"client":"acme","product":"sensor","action":"create"}"#);
    let cases = [
        Event { may_order: false, ..shaped },
        Event { may_order: false, ..event(2, REQUESTED, r#"{"product":"sensor"}"#) },
        event(3, published, r#"{"client":"acme","temperature":5}"#),
        event(4, published, r#"{"client":"acme","product":""}"#),
        event(5, published, r#"{"client":"acme","product":5}"#),
        event(6, published, r#"["product"]"#),
    ];
    let mut steps = Vec::new();
    for event in &cases {
        assert_eq!(handle(&kit, event).await, Verdict::Ack);
        assert_eq!(kit.store.order(&scope(), event.id).await.unwrap(), None);
        steps.push(kit.steps(&event.trace).await);
    }
    insta::assert_snapshot!(steps.join("\n"));
}

#[tokio::test]
async fn what_is_wrong_with_an_event_makes_a_failed_order_that_names_all_of_it() {
    let kit = kit();
    let deep = format!(r#"{{"product":"sensor","parameters":{}1{}}}"#, "[".repeat(50), "]".repeat(50));
    let large = format!(r#"{{"product":"sensor","parameters":{{"label":"{}"}}}}"#, "x".repeat(1_000_000));
    let long = format!(r#"{{"product":"{}","name":"{}"}}"#, "p".repeat(300_000), "n\\n".repeat(100_000));
    let bodies = [
        r#"{}"#,
        r#"[]"#,
        r#""sensor""#,
        r#"{"product":"mainframe"}"#,
        r#"{"product":"sensor","parameters":"x"}"#,
        r#"{"product":"sensor","parameters":{"interval":"x","more":1}}"#,
        r#"{"product":"sensor","parameters":{"interval":1e999}}"#,
        r#"{"product":"sensor","action":5}"#,
        r#"{"product":"sensor","action":"rollback"}"#,
        r#"{"product":"sensor","name":["a"],"environment":{},"namespace":7,"hardware":true}"#,
        r#"{"product":"sensor","name":"a\nb: c","namespace":"kube-system","environment":"moon\n"}"#,
        r#"{"product":"sensor","name":"\ud800"}"#,
        r#"{"product":"sensor","environment":"qa"}"#,
        r#"{"product":"sensor","name":"gone","action":"update"}"#,
        r#"{"name":"gone","action":"remove"}"#,
        r#"{"product":"sensor","client":"Acme.Corp"}"#,
        &deep,
        &large,
        &long,
    ];
    let mut said = Vec::new();
    for (number, body) in (1..).zip(bodies) {
        let event = event(number, REQUESTED, body);
        let order = ordered(&kit, &event).await;
        assert_eq!((order.state, order.release), (OrderState::Failed, None), "{body}");
        let shown: String = body.chars().take(90).collect();
        said.push(format!(
            "{shown}\n  name {:?}, product {:?}, environment {:?}, namespace {:?}\n  {}\n  {}",
            order.name,
            order.product,
            order.environment,
            order.namespace,
            order.reason.unwrap(),
            kit.steps(&event.trace).await.replace('\n', "\n  "),
        ));
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[tokio::test]
async fn a_member_that_is_there_twice_is_no_order() {
    let kit = kit();
    let body = r#"{"specversion":"1.0","id":"1","source":"/s","type":"orderwire.order.requested","client":"acme",
        "data":{"product":"sensor","name":"a","name":"b"}}"#;
    let limits = Limits::default();
    let read = from_json(body.as_bytes(), &arrival(1, None, &limits)).unwrap();
    let order = ordered(&kit, &Event { may_order: true, ..read.event }).await;
    assert_eq!((order.state, order.product.as_str()), (OrderState::Failed, "sensor"));
    insta::assert_snapshot!(order.reason.unwrap(), @"the order cannot be read: duplicate field `name`");
}

#[tokio::test]
async fn an_event_that_the_store_refuses_is_a_failed_order_with_the_refusal() {
    let kit = kit();
    let first = event(1, REQUESTED, r#"{"client":"acme","product":"sensor"}"#);
    ordered(&kit, &first).await;
    let second = event(2, REQUESTED, r#"{"client":"acme","product":"sensor","action":"create"}"#);
    let order = ordered(&kit, &second).await;
    assert_eq!(order.state, OrderState::Failed);
    insta::assert_snapshot!(
        order.reason.unwrap(),
        @"release sensor exists already; leave the action out to update it, or choose another name"
    );
    assert!(kit.steps(&second.trace).await.contains("failed: "));
    assert_eq!(kit.order(first.id).await.state, OrderState::Accepted);
}

#[tokio::test]
async fn a_replayed_event_is_the_order_that_it_was() {
    let kit = kit();
    let event = event(1, REQUESTED, r#"{"client":"acme","product":"sensor"}"#);
    let order = ordered(&kit, &event).await;
    assert_eq!(ordered(&kit, &event).await, order);
    let steps = kit.steps(&event.trace).await;
    assert_eq!(steps.lines().count(), 1, "{steps}");
    let orders = kit.store.orders(&scope(), &Default::default(), None, 10).await.unwrap();
    assert_eq!(orders.len(), 1);
}

#[tokio::test]
async fn nothing_that_is_stored_of_a_wrong_event_moves_a_terminal() {
    let kit = kit();
    let bad = r"a\u001b[2J\u0007\u009b\u202eb\u2066\u2028c";
    let body = format!(
        r#"{{"product":"{bad}","name":"{bad}","environment":"{bad}","archtype":"{bad}","hardware":"{bad}",
            "namespace":"{bad}","action":"{bad}","parameters":{{"{bad}":"{bad}"}}}}"#
    );
    let order = ordered(&kit, &event(1, REQUESTED, &body)).await;
    assert_eq!(order.state, OrderState::Failed);
    let known = event(2, REQUESTED, &format!(r#"{{"product":"sensor","parameters":{{"{bad}":"{bad}"}}}}"#));
    let known = ordered(&kit, &known).await;
    assert_eq!(known.state, OrderState::Failed);
    let texts = [&order.name, &order.product, &order.environment, &order.namespace];
    let further = [&order.archtype, &order.hardware, &order.reason, &known.reason];
    for text in texts.into_iter().chain(further.into_iter().flatten()) {
        assert!(!text.is_empty() && !text.contains(|c: char| c.is_control()), "{text:?}");
        assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{2028}']), "{text:?}");
    }
    assert_eq!(order.name, "a\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}b\u{fffd}\u{fffd}c");
}
