//! Dead letters over HTTP.

use serde_json::{Value, json};

use crate::support::Server;

/// One dead letter for each of these types.
async fn with_dead(types: &[&str]) -> Server {
    let server = Server::start().await;
    server.knows_default_client().await;
    for event_type in types {
        server.post(&format!("/v1/events/{event_type}"), &json!({"key": event_type})).await.ok(202);
        let leased = server.post("/v1/queues/shop/lease", &json!({})).await.ok(200);
        let id = &leased["deliveries"][0]["delivery_id"];
        let nack = json!({"delivery_ids": [id], "fail": true, "cause": format!("cannot {event_type}")});
        server.post("/v1/queues/shop/nack", &nack).await.ok(200);
    }
    server
}

async fn list(server: &Server, query: &str) -> Vec<Value> {
    server.get(&format!("/v1/dead{query}")).await.ok(200)["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn dead_letters_are_found_by_what_they_are() {
    let server = with_dead(&["shop.a", "shop.b", "shop.a"]).await;
    assert_eq!(list(&server, "").await.len(), 3);
    assert_eq!(list(&server, "?type=shop.a").await.len(), 2);
    assert_eq!(list(&server, "?cause=CANNOT%20shop.b").await.len(), 1);
    assert_eq!(list(&server, "?queue=shop&client=other").await.len(), 0);
    assert_eq!(list(&server, "?since=2030-01-01T00:00:00Z").await.len(), 0);
    server.get("/v1/dead?since=yesterday").await.problem(422, "invalid");
    server.get("/v1/dead?colour=red").await.problem(422, "invalid");
    let page = server.get("/v1/dead?limit=2").await.ok(200);
    let next = page["next"].as_str().unwrap();
    assert_eq!(list(&server, &format!("?after={next}")).await.len(), 1);
    let id = page["items"][0]["id"].as_str().unwrap();
    let one = server.get(&format!("/v1/dead/{id}")).await.ok(200);
    assert_eq!(one["event"]["data"], json!({"key": "shop.a"}));
    let other = [("orderwire-client", "other")];
    server.call("GET", &format!("/v1/dead/{id}"), &other, "").await.problem(404, "not-found");
    server.call("GET", "/v1/clients/default", &other, "").await.problem(404, "not-found");
    assert_eq!(one["cause"], "cannot shop.a");
    assert!(page["items"][0].get("event").is_none());
    let trace = server.get(&format!("/v1/traces/{}", one["trace_id"].as_str().unwrap())).await.ok(200);
    assert_eq!(trace["state"], "failed");
}

#[tokio::test]
async fn replay_and_discard_need_a_choice_and_can_be_tried_first() {
    let server = with_dead(&["shop.a", "shop.b", "shop.a"]).await;
    server.post("/v1/dead/replay", &json!({})).await.problem(422, "invalid");
    server.post("/v1/dead/discard", &json!({"dry_run": true})).await.problem(422, "invalid");
    let wrong = server.post("/v1/dead/replay", &json!({"filter": {"queue": "No"}})).await;
    assert_eq!(wrong.problem(422, "invalid")["pointer"], "/filter/queue");
    let filter = json!({"filter": {"type": "shop.a"}, "dry_run": true});
    assert_eq!(server.post("/v1/dead/replay", &filter).await.ok(200), json!({"count": 2, "dry_run": true}));
    assert_eq!(list(&server, "").await.len(), 3);
    let filter = json!({"filter": {"type": "shop.a"}});
    assert_eq!(server.post("/v1/dead/replay", &filter).await.ok(200), json!({"count": 2, "dry_run": false}));
    assert_eq!(server.waiting("shop").await.len(), 2);
    let left = list(&server, "").await;
    let ids = json!({"ids": [left[0]["id"]], "reason": "a mistake"});
    assert_eq!(server.post("/v1/dead/discard", &ids).await.ok(200)["count"], 1);
    assert!(list(&server, "").await.is_empty());
}
