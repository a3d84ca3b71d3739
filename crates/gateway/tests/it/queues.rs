//! Queues over HTTP.

use std::time::Duration;

use orderwire_types::Limits;
use serde_json::json;

use crate::support::{JSON, NDJSON, Server, bearer};

#[tokio::test]
async fn a_delivery_is_leased_settled_and_reported_lost_afterwards() {
    let server = Server::start().await;
    server.knows_default_client().await;
    let accepted = server.post("/v1/events/shop.a", &json!({"n": 1})).await.ok(202);
    let leased = server.post("/v1/queues/shop/lease", &json!({"max": 5, "lease_ms": 1000})).await.ok(200);
    let delivery = &leased["deliveries"][0];
    assert_eq!(delivery["attempt"], 1);
    assert_eq!(delivery["event"]["eventid"], accepted["event_id"]);
    assert_eq!(delivery["event"]["data"], json!({"n": 1}));
    let queue = server.get("/v1/queues/shop").await.ok(200);
    assert_eq!((&queue["ready"], &queue["in_flight"]), (&json!(0), &json!(1)));
    let ids = json!({"delivery_ids": [delivery["delivery_id"]]});
    let settled = server.post("/v1/queues/shop/ack", &ids).await.ok(200);
    assert_eq!(settled, json!({"settled": 1, "errors": []}));
    let again = server.post("/v1/queues/shop/ack", &ids).await.problem(409, "lease-lost");
    assert_eq!(again["settled"], 0);
    assert_eq!(again["errors"][0]["delivery_id"], delivery["delivery_id"]);
    assert_eq!(again["errors"][0]["pointer"], "/delivery_ids/0");
    let trace = server.get(accepted["status_url"].as_str().unwrap()).await.ok(200);
    assert_eq!(trace["state"], "done");
    let problem = server.post("/v1/queues/shop/ack", &json!({"delivery_ids": ["x"]})).await;
    assert_eq!(problem.problem(422, "invalid")["pointer"], "/delivery_ids/0");
}

#[tokio::test]
async fn a_lease_can_be_extended_and_runs_out() {
    let server = Server::start().await;
    server.post("/v1/events/shop.a", &json!({})).await.ok(202);
    let leased = server.post("/v1/queues/shop/lease", &json!({"lease_ms": 1000})).await.ok(200);
    let id = leased["deliveries"][0]["delivery_id"].clone();
    let extend = json!({"delivery_ids": [id], "lease_ms": 10_000});
    server.post("/v1/queues/shop/extend", &extend).await.ok(200);
    server.time.advance(Duration::from_secs(5));
    server.post("/v1/queues/shop/extend", &extend).await.ok(200);
    server.time.advance(Duration::from_secs(11));
    server.post("/v1/queues/shop/ack", &json!({"delivery_ids": [id]})).await.problem(409, "lease-lost");
    let next = server.post("/v1/queues/shop/lease", &json!({"wait_ms": 30_000})).await.ok(200);
    assert_eq!(next["deliveries"][0]["attempt"], 2);
}

#[tokio::test]
async fn a_waiting_lease_gets_what_comes() {
    let server = Server::start().await;
    let request = json!({"wait_ms": 30_000});
    let lease = server.post("/v1/queues/shop/lease", &request);
    let publish = async {
        // The lease is polled first, so that it waits already.
        server.post("/v1/events/shop.a", &json!({})).await.ok(202)
    };
    let (leased, _) = tokio::join!(lease, publish);
    assert_eq!(leased.ok(200)["deliveries"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn queues_of_workers_are_closed_to_others() {
    let server = Server::start().await;
    for (path, body) in [
        ("/v1/queues/data/lease", json!({})),
        ("/v1/queues/clients/lease", json!({})),
        ("/v1/queues/clients/ack", json!({"delivery_ids": ["1-1-1"]})),
        ("/v1/queues/clients/nack", json!({"delivery_ids": ["1-1-1"]})),
    ] {
        server.post(path, &body).await.problem(409, "conflict");
    }
    let consumer = bearer(&server.key(json!({"roles": ["consume"]})).await);
    let auth = ("authorization", consumer.as_str());
    server.call("GET", "/v1/queues/data/peek", &[auth], "").await.problem(403, "forbidden");
    server.call("GET", "/v1/queues/shop/peek", &[auth], "").await.ok(200);
    server.call("POST", "/v1/queues/shop/pause", &[auth], "").await.problem(403, "forbidden");
}

#[tokio::test]
async fn a_queue_is_made_paused_and_looked_into() {
    let server = Server::start().await;
    let new = json!({"name": "mine", "types": ["shop.*"], "format": "message-attributes", "key": "none"});
    let made = server.post("/v1/queues", &new).await.ok(201);
    assert_eq!(
        (&made["name"], &made["kind"], &made["attempts"]),
        (&json!("mine"), &json!("task"), &json!(5))
    );
    server.post("/v1/queues", &json!({"name": "shop", "types": ["a"]})).await.problem(409, "conflict");
    let problem = server.post("/v1/queues", &json!({"name": "x", "types": ["a"], "kind": "pile"})).await;
    assert_eq!(problem.problem(422, "invalid")["pointer"], "/kind");
    let answer = server.call("POST", "/v1/events/shop.a", &[NDJSON], "{\"n\":1}\n{\"n\":2}").await.ok(202);
    assert_eq!(answer["accepted"], 2);
    let peeked = server.get("/v1/queues/mine/peek?max=1").await.ok(200);
    assert_eq!(peeked["items"].as_array().unwrap().len(), 1);
    assert!(peeked["items"][0]["event"]["MessageAttributes"].is_object());
    assert_eq!(server.call("POST", "/v1/queues/mine/pause", &[], "").await.ok(200)["paused"], true);
    let leased = server.post("/v1/queues/mine/lease", &json!({})).await.ok(200);
    assert_eq!(leased, json!({"deliveries": []}));
    assert_eq!(server.call("POST", "/v1/queues/mine/resume", &[], "").await.ok(200)["paused"], false);
    let leased = server.post("/v1/queues/mine/lease", &json!({"max": 9})).await.ok(200);
    assert_eq!(leased["deliveries"].as_array().unwrap().len(), 2);
    let names: Vec<_> = server.get("/v1/queues").await.ok(200)["items"].as_array().unwrap().clone();
    let names: Vec<_> = names.iter().map(|queue| queue["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["clients", "data", "infra", "mine", "notify", "shop", "status"]);
}

#[tokio::test]
async fn a_body_of_a_lease_is_optional() {
    let server = Server::start().await;
    assert_eq!(
        server.call("POST", "/v1/queues/shop/lease", &[], "").await.ok(200),
        json!({"deliveries": []})
    );
    let problem = server.call("POST", "/v1/queues/shop/lease", &[JSON], r#"{"max":0}"#).await;
    assert_eq!(problem.problem(422, "invalid")["pointer"], "/max");
}

#[tokio::test]
async fn a_consumer_that_vanishes_while_it_waits_takes_nothing_along() {
    let server = Server::start().await;
    let waits = json!({"wait_ms": 30_000, "lease_ms": 60_000});
    let mut lease = Box::pin(server.post("/v1/queues/shop/lease", &waits));
    while futures::poll!(&mut lease).is_pending() {
        let queue = server.get("/v1/queues/shop").await.ok(200);
        if queue["ready"] == 1 || queue["in_flight"] == 1 {
            break;
        }
        server.post("/v1/events/shop.a", &json!({})).await.ok(202);
    }
    drop(lease);
    let leased = server.post("/v1/queues/shop/lease", &waits).await.ok(200);
    assert_eq!(leased["deliveries"][0]["attempt"], 1);
}

#[tokio::test]
async fn consumers_who_wait_keep_nobody_out() {
    let server = Server::with(Limits { concurrent_requests: 2, ..Limits::default() }).await;
    let waits = json!({"wait_ms": 30_000});
    let mut leases: Vec<_> = (0..2).map(|_| Box::pin(server.post("/v1/queues/shop/lease", &waits))).collect();
    for lease in &mut leases {
        assert!(futures::poll!(lease).is_pending());
    }
    server.post("/v1/queues/shop/lease", &waits).await.problem(503, "overloaded");
    server.post("/v1/events/shop.a", &json!({})).await.ok(202);
    drop(leases);
    server.post("/v1/queues/shop/lease", &json!({})).await.ok(200);
}

#[tokio::test]
async fn a_queue_that_is_there_is_changed_but_not_its_kind() {
    let server = Server::start().await;
    server.post("/v1/queues", &json!({"name": "mine", "types": ["shop.*"]})).await.ok(201);
    let more = json!({"name": "mine", "types": ["shop.#"], "attempts": 7});
    assert_eq!(server.post("/v1/queues", &more).await.ok(200)["attempts"], 7);
    server.post("/v1/queues", &more).await.ok(200);
    let other = json!({"name": "mine", "types": ["shop.#"], "kind": "stream"});
    server.post("/v1/queues", &other).await.problem(409, "conflict");
    assert_eq!(server.get("/v1/queues/mine").await.ok(200)["kind"], "task");
}

#[tokio::test]
async fn figures_and_settings_of_queues_need_a_key_for_all_clients() {
    let server = Server::start().await;
    let key = json!({"clients": ["acme"], "roles": ["consume", "operate"]});
    let key = bearer(&server.key(key).await);
    let auth = [JSON, ("authorization", key.as_str())];
    let new = json!({"name": "mine", "types": ["shop.*"]}).to_string();
    for (method, path, body) in [
        ("GET", "/v1/queues", ""),
        ("GET", "/v1/queues/shop", ""),
        ("POST", "/v1/queues/shop/pause", ""),
        ("POST", "/v1/queues/shop/resume", ""),
        ("POST", "/v1/queues", new.as_str()),
    ] {
        let problem = server.call(method, path, &auth, body.to_owned()).await.problem(403, "forbidden");
        assert!(problem["detail"].as_str().unwrap().contains("for all clients"), "{problem}");
    }
    server.call("GET", "/v1/queues/shop/peek", &auth[1..], "").await.ok(200);
    server.call("POST", "/v1/queues/shop/lease", &auth, "{}").await.ok(200);
}
