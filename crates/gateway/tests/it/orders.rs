//! What the gateway shows of orders and releases, and who may ask for them.

use orderwire_gateway::ErrorKind;
use orderwire_store::orders::{Acceptance, Advance, NewOrder, Order};
use orderwire_store::testkit::sample_order;
use orderwire_types::step::Step;
use orderwire_types::{Client, EventId, OrderState, RawJson, Right, TraceId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{JSON, Server, bearer};

const TYPE: &str = "mycompany.producer.event.client.published";

#[tokio::test]
async fn only_who_may_order_makes_events_that_order() {
    let server = Server::start().await;
    server.knows_default_client().await;
    let plain = json!({"product": "sensor", "may_order": true});
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": TYPE, "mayorder": "true",
        "may_order": true, "data": {"product": "sensor", "may_order": true}});
    let attributes = json!({"product": "sensor", "may_order": true, "MessageAttributes": {
        "event_type": {"Type": "String", "Value": TYPE}, "may_order": {"Type": "String", "Value": "true"}}});
    for (roles, may) in [
        (json!(["write"]), false),
        (json!(["write", "consume", "operate", "read"]), false),
        (json!(["write", "order"]), true),
        (json!(["admin"]), true),
    ] {
        let key = bearer(&server.key(json!({"roles": roles})).await);
        let auth = ("authorization", key.as_str());
        let cloud = ("content-type", "application/cloudevents+json");
        let before = server.waiting("infra").await.len();
        let mut sent = 0;
        for (path, form, body) in [
            (format!("/v1/events/{TYPE}"), JSON, &plain),
            ("/v1/events".to_owned(), JSON, &attributes),
            ("/v1/events".to_owned(), cloud, &event),
        ] {
            // A CloudEvent names itself, so that each key's needs a name of its own.
            let mut body = body.clone();
            if body["id"].is_string() {
                body["id"] = json!(format!("{roles}"));
            }
            let answer = server.call("POST", &path, &[form, auth], body.to_string()).await;
            if answer.status == 422 {
                continue;
            }
            assert_eq!(answer.ok(202)["queues"], json!(["infra"]));
            sent += 1;
        }
        assert!(sent >= 2, "{sent}");
        for stored in &server.waiting("infra").await[before..] {
            assert_eq!(stored["may_order"] == json!(true), may, "{roles}: {stored}");
        }
        assert_eq!(server.waiting("infra").await.len(), before + sent);
    }
}

#[tokio::test]
async fn a_release_gets_a_key_of_its_own() {
    let server = Server::start().await;
    let client: Client = "acme".parse().unwrap();
    let make = async |id: &str, rights: &[Right]| {
        server.keys.make_release_key(id, "acme/sensor", &client, rights, &["dataset/air".into()]).await
    };
    let id = "00112233445566aa";
    let text = make(id, &[Right::Write]).await.unwrap();
    let key = bearer(&text);
    let who = server.call("GET", "/v1/whoami", &[("authorization", &key)], "").await.ok(200);
    assert_eq!(
        who,
        json!({"principal": format!("key:{id}"), "clients": ["acme"], "roles": ["write"], "objects": ["dataset/air"]})
    );
    let listed = server.get("/v1/keys").await.ok(200);
    assert!(listed["items"].as_array().unwrap().iter().any(|key| key["name"] == "release acme/sensor"));
    assert_eq!(make(id, &[Right::Write]).await.unwrap_err().kind(), ErrorKind::Store, "the id is taken");
    for bad in ["", "00112233445566AA", "00112233445566a", "00112233445566a_"] {
        assert_eq!(make(bad, &[Right::Write]).await.unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
    }
    for bad in [&[][..], &[Right::Order], &[Right::Read, Right::Admin]] {
        assert_eq!(make("00112233445566ab", bad).await.unwrap_err().kind(), ErrorKind::Invalid, "{bad:?}");
    }
    server.keys.revoke(id).await.unwrap();
    server.keys.revoke(id).await.unwrap();
    server.keys.revoke("ffffffffffffffff").await.unwrap();
    server.call("GET", "/v1/whoami", &[("authorization", &key)], "").await.problem(401, "unauthorized");
    let new = json!({"name": "release x", "roles": ["read"]});
    assert_eq!(server.post("/v1/keys", &new).await.problem(422, "invalid")["pointer"], "/name");
}

/// An order of a sensor.
fn order(server: &Server, number: u128, client: &str, name: &str) -> Order {
    Order {
        trace: TraceId::from_uuid(Uuid::from_u128(1_000_000 + number)),
        client: client.parse().unwrap(),
        name: name.to_owned(),
        product: "sensor".to_owned(),
        environment: "production".to_owned(),
        archtype: Some("saas".to_owned()),
        namespace: client.to_owned(),
        ..sample_order(EventId(Uuid::from_u128(number)), server.time.now())
    }
}

async fn accept(server: &Server, order: Order) -> Order {
    let step = Step { event_id: Some(order.id.0), ..Step::ok(order.created_at, "provisioner", "accepted") };
    let new = NewOrder { order, record_refused: false, steps: vec![step] };
    match server.store.accept(new).await.unwrap() {
        Acceptance::New(order) => order,
        other => panic!("{other:?}"),
    }
}

/// Makes a client known, as the recorder does.
async fn know(server: &Server, number: u128, client: &str) {
    use orderwire_types::step::TraceRecord;
    let client: Client = client.parse().unwrap();
    let trace = Uuid::from_u128(number);
    let change = orderwire_store::ClientChange {
        client: client.clone(),
        event_id: EventId(trace),
        at: server.time.now(),
        trace,
        attributes: RawJson::parse("{}".into()).unwrap(),
        steps: TraceRecord { trace, client, steps: Vec::new() },
    };
    server.store.change_clients(&[change]).await.unwrap();
}

fn names(info: &Value) -> Vec<&str> {
    info["releases"].as_array().unwrap().iter().map(|release| release["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn clients_say_who_has_what() {
    let server = Server::start().await;
    for (number, client) in (1..).zip(["acme", "bare", "other"]) {
        know(&server, number, client).await;
    }
    for i in 0..101 {
        accept(&server, order(&server, 100 + i, "acme", &format!("s{i:03}"))).await;
    }
    let web = Order { product: "web".to_owned(), ..order(&server, 300, "other", "web") };
    let web = accept(&server, web).await;
    let list = server.get("/v1/clients").await.ok(200);
    let items = list["items"].as_array().unwrap();
    assert_eq!((names(&items[0]).len(), &items[0]["more_releases"]), (100, &json!(true)));
    assert_eq!((names(&items[1]), names(&items[2])), (vec![], vec!["web"]));
    let expected = json!({
        "release_id": web.release.unwrap(), "name": "web", "product": "web", "environment": "production",
        "archtype": "saas", "target": "local", "namespace": "other", "state": "changing", "revision": null,
        "since": server.time.now().to_string(), "trace_id": web.trace.to_string(),
    });
    assert_eq!(items[2]["releases"][0], expected);
    assert_eq!(server.get("/v1/clients/other").await.ok(200)["releases"], json!([expected]));
    let found = server.get("/v1/clients?product=web&environment=production").await.ok(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    assert_eq!(server.get("/v1/clients?environment=dev").await.ok(200)["items"], json!([]));
    let page = server.get("/v1/clients?limit=1&product=web").await.ok(200);
    assert_eq!((&page["items"], &page["next"]), (&json!([]), &json!("acme")));
    let key = bearer(&server.key(json!({"roles": ["read"], "clients": ["bare"]})).await);
    let mine = server.call("GET", "/v1/clients", &[("authorization", &key)], "").await.ok(200);
    assert_eq!(mine["items"].as_array().unwrap().len(), 1);
    assert!(!mine.to_string().contains("web"));
}

#[tokio::test]
async fn a_trace_is_open_until_its_orders_are_finished() {
    let server = Server::start().await;
    let accepted = accept(&server, order(&server, 1, "acme", "sensor")).await;
    let url = format!("/v1/traces/{}", accepted.trace);
    assert_eq!(server.get(&url).await.ok(200)["state"], "open");
    let now = server.time.now();
    let until = now + std::time::Duration::from_secs(60);
    let claimed = server.store.claim("local", 1, now, until).await.unwrap().remove(0);
    let end = |state| Advance { at: now, state: Some((state, None)), ..Advance::default() };
    server.store.advance(claimed.lease, accepted.id, end(OrderState::Failed)).await.unwrap();
    assert_eq!(server.get(&url).await.ok(200)["state"], "failed");
    server.store.hand_back(claimed.lease, None).await.unwrap();
    let second = accept(&server, order(&server, 2, "acme", "sensor")).await;
    let claimed = server.store.claim("local", 1, now, until).await.unwrap().remove(0);
    server.store.advance(claimed.lease, second.id, end(OrderState::Ready)).await.unwrap();
    assert_eq!(server.get(&format!("/v1/traces/{}", second.trace)).await.ok(200)["state"], "done");
}

#[tokio::test]
async fn a_key_of_some_objects_sees_nothing_of_orders() {
    let server = Server::start().await;
    know(&server, 1, "acme").await;
    let failing = accept(&server, order(&server, 2, "acme", "sensor")).await;
    let url = format!("/v1/traces/{}", failing.trace);
    let look = async |objects: Value, url: &str| {
        let key = bearer(&server.key(json!({"roles": ["read"], "objects": objects})).await);
        server.call("GET", url, &[("authorization", &key)], "").await
    };
    for objects in [json!(["dataset/air"]), json!(["queue/status", "dataset/air"])] {
        let list = look(objects.clone(), "/v1/clients").await.ok(200);
        assert_eq!(
            (&list["items"][0]["client"], names(&list["items"][0]).len()),
            (&json!("acme"), 0),
            "{list}"
        );
        assert_eq!(names(&look(objects.clone(), "/v1/clients/acme").await.ok(200)).len(), 0);
        for filter in ["product=sensor", "environment=production"] {
            look(objects.clone(), &format!("/v1/clients?{filter}")).await.problem(403, "forbidden");
        }
        let trace = look(objects, &url).await.ok(200);
        assert_eq!((&trace["steps"], &trace["state"]), (&json!([]), &json!("done")), "{trace}");
    }
    let all = json!(["queue/infra"]);
    assert_eq!(names(&look(all.clone(), "/v1/clients?product=sensor").await.ok(200)["items"][0]), ["sensor"]);
    let trace = look(all, &url).await.ok(200);
    assert_eq!((trace["steps"].as_array().unwrap().len(), &trace["state"]), (1, &json!("open")), "{trace}");
}
