//! `/v1/forwards`.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Extension;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use orderwire_api::{Authenticator, Problem};
use orderwire_forwarder::{BreakerOptions, EndpointOptions, router};
use orderwire_types::scope::Clients;
use orderwire_types::{Right, Scope};
use serde_json::Value;
use tower::ServiceExt;

use crate::stub::{Stub, ok, status};
use crate::world::{World, endpoint};

/// Keys by their text.
struct Known;

#[async_trait]
impl Authenticator for Known {
    async fn authenticate(&self, key: &str) -> Result<Arc<Scope>, Problem> {
        let only = |client: &str| Clients::Only([client.parse().unwrap()].into());
        let (clients, right, objects) = match key {
            "operator" => (Clients::All, Right::Operate, None),
            "acme" => (only("acme"), Right::Operate, None),
            "consumer" => (only("other"), Right::Consume, None),
            "reader" => (Clients::All, Right::Read, None),
            "crm" => (Clients::All, Right::Operate, Some(["queue/forward-crm".to_owned()].into())),
            _ => return Err(Problem::unauthorized("this key is unknown")),
        };
        let principal = format!("key:{key}").into();
        Ok(Arc::new(Scope { principal, clients, rights: [right].into(), objects }))
    }
}

async fn call(world: &World, key: &str, method: &str, path: &str) -> (u16, Value) {
    let known: Arc<dyn Authenticator> = Arc::new(Known);
    let (routes, _) = router(world.forwarder.clone()).split_for_parts();
    let request = Request::builder().method(method).uri(path).header("x-api-key", key);
    let response =
        routes.layer(Extension(known)).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn get(world: &World, path: &str) -> Value {
    let (status, answer) = call(world, "operator", "GET", path).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test]
async fn endpoints_are_listed_with_how_they_are_doing() {
    let shop = Stub::start(|_| ok()).await;
    let crm = Stub::start(|_| status(500)).await;
    let breaker = BreakerOptions { failures: 1, ..BreakerOptions::default() };
    let clients = Clients::Only(["acme".parse().unwrap()].into());
    let endpoints = vec![
        EndpointOptions { clients, ..endpoint("shop", &shop.url()) },
        EndpointOptions { breaker, ..endpoint("crm", &crm.url()) },
    ];
    let mut world = World::start(endpoints).await;
    world.publish("shop.order.paid").await;
    world.publish("crm.contact.made").await;
    let listed = world
        .until("both were tried", async |world| {
            let listed = get(world, "/v1/forwards").await;
            (listed["items"][0]["failed"] == 1 && listed["items"][1]["waiting"] == 0).then_some(listed)
        })
        .await;
    let [crm, shop] = [&listed["items"][0], &listed["items"][1]];
    assert_eq!((&crm["name"], &crm["breaker"], &crm["failures"]), (&"crm".into(), &"open".into(), &1.into()));
    assert!(crm["next_try_at"].is_string() && crm["last_at"].is_string(), "{crm}");
    assert!(crm["last_error"].as_str().unwrap().contains("500"), "{crm}");
    assert_eq!((&crm["waiting"], &crm["dead"], &crm["clients"]), (&1.into(), &0.into(), &Value::Null));
    assert_eq!(
        (&shop["breaker"], &shop["delivered"], &shop["failed"]),
        (&"closed".into(), &1.into(), &0.into())
    );
    assert_eq!((&shop["clients"][0], &shop["queue"]), (&"acme".into(), &"forward-shop".into()));
    assert_eq!((&shop["types"][0], &shop["format"]), (&"shop.#".into(), &"cloudevents".into()));
    assert!(!listed.to_string().contains("hunter2"), "the query of a URL may be a secret: {listed}");
    world.drain().await;
}

#[tokio::test]
async fn the_log_comes_in_pages_newest_first_and_filtered() {
    let stub = Stub::start(|received| match received.body.contains("\"client\":\"other\"") {
        true => status(410),
        false => ok(),
    })
    .await;
    let mut world = World::start(vec![endpoint("shop", &stub.url())]).await;
    for n in 0..5 {
        world.publish_for("shop.order.paid", if n == 2 { "other" } else { "acme" }).await;
        world.logged("shop", n + 1).await;
    }
    let first = get(&world, "/v1/forwards/shop/deliveries?limit=2").await;
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let next = first["next"].as_str().unwrap();
    let second = get(&world, &format!("/v1/forwards/shop/deliveries?limit=9&after={next}")).await;
    assert_eq!((second["items"].as_array().unwrap().len(), &second["next"]), (3, &Value::Null));
    let newest = &first["items"][0];
    assert_eq!((&newest["outcome"], &newest["status"]), (&"delivered".into(), &204.into()));
    assert_eq!((&newest["type"], &newest["attempt"]), (&"shop.order.paid".into(), &1.into()));
    assert!(newest["at"].as_str() > first["items"][1]["at"].as_str(), "{first}");
    assert!(newest["duration_ms"].as_f64().unwrap() > 0.0);
    let event = newest["event_id"].as_str().unwrap();
    for (query, expected) in [
        ("outcome=failed".to_owned(), 1),
        ("outcome=retry".to_owned(), 0),
        ("client=acme".to_owned(), 4),
        ("client=acme&outcome=failed".to_owned(), 0),
        (format!("event_id={event}"), 1),
    ] {
        let found = get(&world, &format!("/v1/forwards/shop/deliveries?{query}")).await;
        assert_eq!(found["items"].as_array().unwrap().len(), expected, "{query}: {found}");
    }
    for (key, expected) in [("acme", 4), ("consumer", 1)] {
        let (status, found) = call(&world, key, "GET", "/v1/forwards/shop/deliveries").await;
        assert_eq!((status, found["items"].as_array().unwrap().len()), (200, expected), "{key}: {found}");
    }
    for wrong in ["outcome=gone", "client=a/b", "event_id=x", "after=x", "limit=x", "page=1"] {
        let path = format!("/v1/forwards/shop/deliveries?{wrong}");
        let (status, problem) = call(&world, "operator", "GET", &path).await;
        assert_eq!(status, 422, "{wrong}: {problem}");
    }
    world.drain().await;
}

#[tokio::test]
async fn a_sample_event_is_posted_at_once_and_its_answer_told() {
    let away = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let mut stub = Stub::start({
        let away = Arc::clone(&away);
        move |_| if away.load(std::sync::atomic::Ordering::SeqCst) { status(500) } else { ok() }
    })
    .await;
    let breaker = BreakerOptions { failures: 1, ..BreakerOptions::default() };
    let mut world = World::start(vec![EndpointOptions { breaker, ..endpoint("shop", &stub.url()) }]).await;
    world.publish("shop.order.paid").await;
    stub.next().await;
    // The breaker is open, and the sample goes past it.
    let (code, tested) = call(&world, "operator", "POST", "/v1/forwards/shop/test").await;
    assert_eq!((code, &tested["outcome"], &tested["status"]), (200, &"retry".into(), &500.into()));
    assert_eq!((&tested["body"], tested["error"].is_string()), (&"no".into(), true));
    let received = stub.next().await;
    assert_eq!(received.id(), tested["event_id"].as_str().unwrap());
    assert!(received.headers["webhook-signature"].starts_with("v1,"));
    let event: Value = serde_json::from_str(&received.body).unwrap();
    assert_eq!((&event["type"], &event["client"]), (&"orderwire.forward.test".into(), &"default".into()));
    // Mended: a sample that is taken ends the pause.
    away.store(false, std::sync::atomic::Ordering::SeqCst);
    let (_, tested) = call(&world, "acme", "POST", "/v1/forwards/shop/test").await;
    assert_eq!(tested["outcome"], "delivered");
    let event: Value = serde_json::from_str(&stub.next().await.body).unwrap();
    assert_eq!(event["client"], "acme");
    world.until_empty("shop").await;
    let log = world.logged("shop", 4).await;
    assert_eq!(log.len(), 4, "samples are in the log: {log:?}");
    world.drain().await;
}

#[tokio::test]
async fn who_may_not_look_or_act_is_refused() {
    let stub = Stub::start(|_| ok()).await;
    let zeta = Clients::Only(["zeta".parse().unwrap()].into());
    let world = World::start(vec![
        endpoint("shop", &stub.url()),
        endpoint("crm", &stub.url()),
        EndpointOptions { clients: zeta, ..endpoint("zeta", &stub.url()) },
    ])
    .await;
    for (key, method, path, expected) in [
        // Not of a client whose events the endpoint gets.
        ("acme", "POST", "/v1/forwards/zeta/test", 403),
        ("nobody", "GET", "/v1/forwards", 401),
        ("reader", "GET", "/v1/forwards", 403),
        ("acme", "GET", "/v1/forwards", 403),
        ("operator", "GET", "/v1/forwards", 200),
        ("reader", "GET", "/v1/forwards/shop/deliveries", 403),
        ("operator", "GET", "/v1/forwards/none/deliveries", 404),
        ("crm", "GET", "/v1/forwards/shop/deliveries", 404),
        ("crm", "GET", "/v1/forwards/crm/deliveries", 200),
        ("consumer", "POST", "/v1/forwards/shop/test", 403),
        ("reader", "POST", "/v1/forwards/shop/test", 403),
        ("crm", "POST", "/v1/forwards/shop/test", 404),
        ("operator", "POST", "/v1/forwards/none/test", 404),
    ] {
        let (status, answer) = call(&world, key, method, path).await;
        assert_eq!(status, expected, "{key} {method} {path}: {answer}");
    }
    let (_, of_crm) = call(&world, "crm", "GET", "/v1/forwards").await;
    assert_eq!(of_crm["items"].as_array().unwrap().len(), 1, "{of_crm}");
    assert_eq!(stub.connections(), 0);
    world.drain().await;
}
