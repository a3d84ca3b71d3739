//! Orders over HTTP.

use orderwire_types::OrderState;
use serde_json::json;

use crate::http_kit::{Server, journal, state};

#[tokio::test]
async fn an_order_is_readable_from_the_moment_of_its_202() {
    let server = Server::start();
    let body = json!({"product": "Small-Module", "name": "roof", "parameters": {"interval": 7}});
    let answer = server.post("acme", "/v1/orders", &body).await;
    let made = answer.ok(202);
    let url = made["status_url"].as_str().unwrap();
    assert_eq!(answer.headers["location"], url);
    assert_eq!(made["state"], "accepted");
    let order = server.get("acme", url).await.ok(200);
    for (name, value) in [
        ("order_id", made["order_id"].clone()),
        ("trace_id", made["trace_id"].clone()),
        ("client", json!("acme")),
        ("name", json!("roof")),
        ("product", json!("sensor")),
        ("namespace", json!("acme")),
        ("target", json!("local")),
        ("state", json!("accepted")),
        ("action", json!("apply")),
        ("revision", json!(null)),
        ("parameters", json!({"interval": 7})),
    ] {
        assert_eq!(order[name], value, "{name}");
    }
    let found =
        server.get("acme", &format!("/v1/orders?trace_id={}", made["trace_id"].as_str().unwrap())).await;
    assert_eq!(found.ok(200)["items"], json!([order]));
    assert_eq!(server.get("acme", "/v1/orders?state=ready").await.ok(200)["items"], json!([]));
}

#[tokio::test]
async fn whose_an_order_is_follows_body_header_key_and_default() {
    let server = Server::start();
    let sensor = json!({"product": "sensor"});
    let header = [("orderwire-client", "other")];
    let of = async |key: &str, headers: &[(&str, &str)], body: &serde_json::Value| {
        let made = server.call(key, "POST", "/v1/orders", headers, body.to_string()).await.ok(202);
        let url = made["status_url"].as_str().unwrap().to_owned();
        server.get("admin", &url).await.ok(200)["client"].clone()
    };
    assert_eq!(of("acme", &[], &sensor).await, "acme");
    assert_eq!(of("two", &header, &sensor).await, "other");
    assert_eq!(of("two", &header, &json!({"product": "sensor", "client": "acme"})).await, "acme");
    assert_eq!(of("admin", &[], &sensor).await, "default");
    let foreign = server.post("acme", "/v1/orders", &json!({"product": "sensor", "client": "other"})).await;
    foreign.problem(403, "forbidden");
    server.post("two", "/v1/orders", &sensor).await.problem(403, "forbidden");
    assert_eq!(server.stored().await, 4);
}

#[tokio::test]
async fn only_who_may_order_orders() {
    let server = Server::start();
    let sensor = json!({"product": "sensor"});
    for path in ["/v1/orders", "/v1/orders/plan"] {
        for key in ["reader", "writer", "module"] {
            server.post(key, path, &sensor).await.problem(403, "forbidden");
        }
        server.post("nobody", path, &sensor).await.problem(401, "unauthorized");
    }
    server.get("writer", "/v1/orders").await.problem(403, "forbidden");
    server.get("module", "/v1/orders").await.problem(403, "forbidden");
    server.get("reader", "/v1/orders").await.ok(200);
    assert_eq!(server.stored().await, 0);
}

#[tokio::test]
async fn hostile_bodies_are_refused_with_a_pointer() {
    let server = Server::start();
    let post = async |body: String| server.call("acme", "POST", "/v1/orders", &[], body).await;
    post("{".into()).await.problem(400, "malformed");
    post("\u{feff}{}".into()).await.problem(400, "malformed");
    post("{\"product\":\"sensor\"} x".into()).await.problem(400, "malformed");
    post(format!("{{\"product\":\"{}\"}}", "x".repeat(20_000))).await.problem(413, "too-large");
    let deep = format!("{{\"product\":\"sensor\",\"parameters\":{}{}}}", "[".repeat(99), "]".repeat(99));
    post(deep).await.problem(422, "invalid");
    for (body, pointer) in [
        (json!({"product": "sensor", "price": 1}), "/price"),
        (json!({"product": 7}), "/product"),
        (json!({"product": "sensor", "client": "a b"}), "/client"),
        (json!({"product": "sensor", "action": "destroy"}), "/action"),
        (json!({"product": "sensor", "action": "rollback"}), "/action"),
        (json!({"product": "sensor", "trace_id": "a\nb"}), "/trace_id"),
        (json!({"product": "sensor", "trace_id": ""}), "/trace_id"),
        (json!({"product": "no-such"}), "/product"),
        (json!({"product": "sensor", "name": "a\n- b"}), "/name"),
        (json!({"product": "sensor", "namespace": "kube-system"}), "/namespace"),
        (json!({"product": "sensor", "environment": "moon"}), "/environment"),
        (json!({"product": "sensor", "parameters": {"interval": 0}}), "/parameters/interval"),
    ] {
        let (at, detail) = post(body.to_string()).await.problem(422, "invalid");
        assert_eq!(at, pointer, "{body}: {detail}");
    }
    server
        .call("acme", "POST", "/v1/orders", &[("content-type", "text/yaml")], "{}")
        .await
        .problem(415, "unsupported-media-type");
    assert_eq!(server.stored().await, 0);
}

#[tokio::test]
async fn a_named_order_is_one_order() {
    let server = Server::start();
    let body = json!({"product": "sensor"}).to_string();
    let post = async |key: &str, name: &str, body: &str| {
        server.call(key, "POST", "/v1/orders", &[("idempotency-key", name)], body.to_owned()).await
    };
    let first = post("acme", "a", &body).await.ok(202);
    assert_eq!(post("acme", "a", &body).await.ok(202), first);
    let order = first["order_id"].as_str().unwrap();
    let lease = server.claim().await;
    server.advance(lease, order, state(OrderState::Planned)).await;
    let again = post("acme", "a", &body).await.ok(202);
    assert_eq!((&again["order_id"], &again["state"]), (&first["order_id"], &json!("planned")));
    post("acme", "a", &json!({"product": "sensor", "name": "b"}).to_string())
        .await
        .problem(409, "idempotency-conflict");
    post("acme", "a", &json!({"product": "sensor", "trace_id": "ticket 7"}).to_string())
        .await
        .problem(409, "idempotency-conflict");
    assert_ne!(
        post("two", "a", &json!({"product": "web", "client": "acme"}).to_string()).await.ok(202)["order_id"],
        first["order_id"]
    );
    post("acme", "", &body).await.problem(422, "invalid");
    assert_eq!(server.stored().await, 2);
}

#[tokio::test]
async fn the_trace_is_the_bodys_before_the_headers() {
    let server = Server::start();
    let parent = [("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")];
    let post = async |body: serde_json::Value| {
        let made = server.call("acme", "POST", "/v1/orders", &parent, body.to_string()).await.ok(202);
        made["trace_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(post(json!({"product": "sensor"})).await, "4bf92f35-77b3-4da6-a3ce-929d0e0e4736");
    assert_eq!(post(json!({"product": "sensor", "trace_id": "ticket 7"})).await, "ticket 7");
}

#[tokio::test]
async fn what_contradicts_is_refused_by_name() {
    let server = Server::start();
    let post = async |body: serde_json::Value| server.post("admin", "/v1/orders", &body).await;
    post(json!({"client": "acme", "product": "sensor"})).await.ok(202);
    post(json!({"client": "acme", "product": "sensor", "action": "create"}))
        .await
        .problem(409, "release-exists");
    post(json!({"client": "acme", "product": "web", "name": "sensor"})).await.problem(409, "release-differs");
    post(json!({"client": "other", "product": "sensor", "namespace": "acme"}))
        .await
        .problem(409, "namespace-taken");
    post(json!({"client": "acme", "name": "roof", "product": "sensor", "action": "update"}))
        .await
        .problem(404, "not-found");
    post(json!({"client": "acme", "name": "roof", "product": "sensor", "action": "remove"}))
        .await
        .problem(404, "not-found");
    assert_eq!(server.stored().await, 1);
}

#[tokio::test]
async fn what_is_outside_looks_as_if_it_did_not_exist() {
    let server = Server::start();
    let order = server.sensor().await;
    let none = uuid::Uuid::from_u128(7).to_string();
    for id in [order.as_str(), &none, "x", "%ff"] {
        for path in ["", "/steps", "/watch"] {
            server.get("other", &format!("/v1/orders/{id}{path}")).await.problem(404, "not-found");
        }
        server.post("other", &format!("/v1/orders/{id}/cancel"), &json!({})).await.problem(404, "not-found");
    }
    assert_eq!(server.get("other", "/v1/orders").await.ok(200)["items"], json!([]));
    let narrowed = [("orderwire-client", "other")];
    let url = format!("/v1/orders/{order}");
    server.call("admin", "GET", &url, &narrowed, "").await.problem(404, "not-found");
    server.call("other", "GET", &url, &[("orderwire-client", "acme")], "").await.problem(403, "forbidden");
    assert_eq!(server.get("admin", &url).await.ok(200)["cancel_requested"], json!(null));
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let server = Server::start();
    for i in 0..5 {
        let body = json!({"client": "acme", "product": "sensor", "name": format!("s{i}")});
        server.post("admin", "/v1/orders", &body).await.ok(202);
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/orders?limit=2&product=Small-Module".to_owned());
    for pages in 1.. {
        let page = server.get("acme", &path).await.ok(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|order| order["name"].clone()));
        let Some(next) = page["next"].as_str() else {
            assert_eq!(pages, 3);
            break;
        };
        path = format!("/v1/orders?limit=2&product=Small-Module&after={next}");
    }
    seen.sort_by_key(ToString::to_string);
    assert_eq!(seen, ["s0", "s1", "s2", "s3", "s4"]);
    for bad in ["after=x", "state=Ready", "environment=moon", "release=x", "colour=red", "limit=-1"] {
        server.get("acme", &format!("/v1/orders?{bad}")).await.problem(422, "invalid");
    }
}

#[tokio::test]
async fn steps_are_read_page_by_page() {
    let server = Server::start();
    let order = server.sensor().await;
    let lease = server.claim().await;
    for outcome in ["begun", "done", "begun"] {
        server.advance(lease, &order, journal("plan", outcome)).await;
    }
    let page = server.get("reader", &format!("/v1/orders/{order}/steps?limit=2")).await.ok(200);
    assert_eq!(page["items"][1]["outcome"], "done");
    assert_eq!(page["next"], "2");
    let rest = server.get("reader", &format!("/v1/orders/{order}/steps?after=2")).await.ok(200);
    assert_eq!((&rest["items"][0]["n"], &rest["next"]), (&json!(3), &json!(null)));
}

#[tokio::test]
async fn an_order_is_cancelled_until_it_is_finished() {
    let server = Server::start();
    let order = server.sensor().await;
    let path = format!("/v1/orders/{order}/cancel");
    server.post("reader", &path, &json!({})).await.problem(403, "forbidden");
    assert_eq!(server.post("acme", &path, &json!({})).await.ok(202)["state"], "cancelled");
    assert_eq!(server.post("acme", &path, &json!({})).await.ok(202)["state"], "cancelled");
    let next = server.sensor().await;
    let lease = server.claim().await;
    server.advance(lease, &next, state(OrderState::Applying)).await;
    let asked = server.post("acme", &format!("/v1/orders/{next}/cancel"), &json!({})).await.ok(202);
    assert_eq!((&asked["state"], &asked["cancel_requested"]), (&json!("applying"), &json!(true)));
    server.advance(lease, &next, state(OrderState::Ready)).await;
    let path = format!("/v1/orders/{next}/cancel");
    server.post("acme", &path, &json!({})).await.problem(409, "order-finished");
}

#[tokio::test]
async fn a_plan_records_nothing() {
    let server = Server::start();
    let plan = server.post("acme", "/v1/orders/plan", &json!({"product": "sensor"})).await.ok(200);
    assert_eq!((&plan["outcome"], &plan["namespace"]), (&json!("create"), &json!("acme")));
    server
        .post("acme", "/v1/orders/plan", &json!({"product": "sensor", "x": 1}))
        .await
        .problem(422, "invalid");
    assert_eq!(server.stored().await, 0);
}
