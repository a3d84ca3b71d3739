//! Releases and products over HTTP.

use orderwire_provisioner::{AcceptError, OrderRequest};
use orderwire_store::orders::Refusal;
use orderwire_types::{Action, ReleaseState};
use serde_json::json;
use uuid::Uuid;

use crate::accept_kit::request;
use crate::http_kit::{Server, state};

#[tokio::test]
async fn releases_are_listed_and_found() {
    let server = Server::start();
    let order = server.sensor().await;
    let web =
        json!({"client": "acme", "product": "web", "environment": "Development", "namespace": "acme-dev"});
    server.post("admin", "/v1/orders", &web).await.ok(202);
    server.post("admin", "/v1/orders", &json!({"client": "other", "product": "web"})).await.ok(202);
    let names = async |path: &str| {
        let list = server.get("admin", path).await.ok(200);
        let item = |item: &serde_json::Value| {
            format!("{}/{}", item["client"].as_str().unwrap(), item["name"].as_str().unwrap())
        };
        let mut names: Vec<_> = list["items"].as_array().unwrap().iter().map(item).collect();
        names.sort();
        names
    };
    assert_eq!(names("/v1/releases").await, ["acme/sensor", "acme/web", "other/web"]);
    assert_eq!(names("/v1/releases?product=Small-Module").await, ["acme/sensor"]);
    assert_eq!(names("/v1/releases?environment=DEV&name=web&target=local").await, ["acme/web", "other/web"]);
    let mine = server.get("reader", "/v1/releases?limit=1").await.ok(200);
    let next = mine["next"].as_str().unwrap();
    let rest = server.get("reader", &format!("/v1/releases?after={next}")).await.ok(200);
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (1, &json!(null)));
    let id = server.release_of(&order).await.id;
    let one = server.get("reader", &format!("/v1/releases/{id}")).await.ok(200);
    assert_eq!(
        (&one["order_id"], &one["state"], &one["revision"]),
        (&json!(order), &json!("changing"), &json!(null))
    );
    for bad in ["after=x", "environment=moon", "removed=maybe", "colour=red"] {
        server.get("admin", &format!("/v1/releases?{bad}")).await.problem(422, "invalid");
    }
}

#[tokio::test]
async fn what_a_release_was_is_shown_and_compared() {
    let server = Server::start();
    let first = server.sensor().await;
    let id = server.release_of(&first).await.id;
    let at = |path: &str| format!("/v1/releases/{id}{path}");
    server.get("reader", &at("/diff")).await.problem(404, "not-found");
    server.makes_ready(&first, &json!({"parameters": {"interval": 5}})).await;
    server.get("reader", &at("/diff")).await.problem(404, "not-found");
    let second = server.sensor().await;
    server.makes_ready(&second, &json!({"parameters": {"interval": 9}})).await;
    let history = server.get("reader", &at("/history?limit=1")).await.ok(200);
    assert_eq!(
        (&history["items"][0]["revision"], &history["items"][0]["current"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(history["next"], "2");
    let rest = server.get("reader", &at("/history?after=2")).await.ok(200);
    assert_eq!((&rest["items"][0]["revision"], &rest["items"][0]["current"]), (&json!(1), &json!(false)));
    let one = server.get("reader", &at("/revisions/1")).await.ok(200);
    assert_eq!(one["content"], json!({"parameters": {"interval": 5}}));
    let change = json!([{"field": "/parameters/interval", "old": 5, "new": 9}]);
    let diff = server.get("reader", &at("/diff")).await.ok(200);
    assert_eq!(diff, json!({"from": 1, "to": 2, "changes": change}));
    let back = server.get("reader", &at("/diff?from=2&to=1")).await.ok(200);
    assert_eq!(back["changes"][0]["new"], 5);
    for path in ["/revisions/3", "/revisions/x", "/diff?to=9", "/diff?from=9"] {
        server.get("reader", &at(path)).await.problem(404, "not-found");
    }
    server.get("reader", &at("/diff?from=x")).await.problem(422, "invalid");
    for path in ["", "/history", "/revisions/1", "/diff", "/drift"] {
        server.get("other", &at(path)).await.problem(404, "not-found");
    }
}

#[tokio::test]
async fn a_rollback_is_an_order_for_the_revision_before() {
    let server = Server::start();
    let first = server.sensor().await;
    let id = server.release_of(&first).await.id;
    let path = format!("/v1/releases/{id}/rollback");
    server.post("acme", &path, &json!({})).await.problem(404, "not-found");
    server.makes_ready(&first, &json!({"parameters": 1})).await;
    server.post("acme", &path, &json!({})).await.problem(404, "not-found");
    let second = server.sensor().await;
    server.makes_ready(&second, &json!({"parameters": 2})).await;
    server.post("reader", &path, &json!({})).await.problem(403, "forbidden");
    server.post("other", &path, &json!({})).await.problem(404, "not-found");
    server.post("acme", &path, &json!({"revision": 9})).await.problem(404, "not-found");
    server.post("acme", &path, &json!({"revision": "1"})).await.problem(422, "invalid");
    server.post("acme", &path, &json!({"to": 1})).await.problem(422, "invalid");
    let answer = server.call("acme", "POST", &path, &[], "").await;
    let made = answer.ok(202);
    assert_eq!(answer.headers["location"], made["status_url"].as_str().unwrap());
    let order = server.kit.order(made["order_id"].as_str().unwrap().parse().unwrap()).await;
    assert_eq!((order.action.as_str(), order.to_revision, order.release), ("rollback", Some(1), Some(id)));
}

#[tokio::test]
async fn a_release_is_removed_by_an_order() {
    let server = Server::start();
    let first = server.sensor().await;
    let id = server.release_of(&first).await.id;
    let path = format!("/v1/releases/{id}");
    server.call("reader", "DELETE", &path, &[], "").await.problem(403, "forbidden");
    server.call("other", "DELETE", &path, &[], "").await.problem(404, "not-found");
    let named = [("idempotency-key", "gone")];
    let made = server.call("acme", "DELETE", &path, &named, "").await.ok(202);
    let order = made["order_id"].as_str().unwrap();
    assert_eq!(server.get("acme", &format!("/v1/orders/{order}")).await.ok(200)["action"], "remove");
    let lease = server.claim().await;
    let mut status = server.release_of(&first).await.status;
    status.state = ReleaseState::Removed;
    let removed = orderwire_store::orders::Advance {
        status: Some(status),
        removed: vec!["Process sensor".to_owned()],
        ..state(orderwire_types::OrderState::Removed)
    };
    server.advance(lease, order, removed).await;
    // Its name is another's now: the old id must not remove that one.
    let anew = server.sensor().await;
    server.call("acme", "DELETE", &path, &[], "").await.problem(404, "not-found");
    assert_eq!(server.call("acme", "DELETE", &path, &named, "").await.ok(202)["state"], "removed");
    assert_eq!(server.get("acme", &format!("/v1/orders/{anew}")).await.ok(200)["state"], "accepted");
    let listed = server.get("acme", "/v1/releases").await.ok(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let listed = server.get("acme", "/v1/releases?removed=true").await.ok(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_differs_on_the_target_is_asked_of_it() {
    let server = Server::start();
    let first = server.sensor().await;
    let id = server.release_of(&first).await.id;
    let path = format!("/v1/releases/{id}/drift");
    let none = server.get("reader", &path).await.ok(200);
    assert_eq!(none, json!({"revision": null, "drifted": false, "objects": []}));
    server.makes_ready(&first, &json!({"not": "a content"})).await;
    server.get("reader", &path).await.problem(503, "damaged");
}

#[tokio::test]
async fn the_catalogue_is_shown_to_whoever_may_read_or_order() {
    let server = Server::start();
    for key in ["reader", "acme", "module"] {
        let list = server.get(key, "/v1/products").await.ok(200);
        let names: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| &item["product"]).collect();
        assert_eq!(names, ["sensor", "web"]);
    }
    let one = server.get("reader", "/v1/products/SMALL-module").await.ok(200);
    assert_eq!(one["product"], "sensor");
    assert_eq!(one["aliases"], json!(["small-module"]));
    assert_eq!(one["parameters"]["properties"]["interval"]["minimum"], 1);
    server.get("reader", "/v1/products/nothing").await.problem(404, "not-found");
    server.get("writer", "/v1/products").await.problem(403, "forbidden");
}

#[tokio::test]
async fn an_order_about_a_release_is_for_no_other_one_of_its_name() {
    let server = Server::start();
    let order = server.sensor().await;
    let there = server.release_of(&order).await.id;
    let removal = |number, release| OrderRequest {
        name: Some("sensor".to_owned()),
        action: Action::Remove,
        release: Some(release),
        ..request(number)
    };
    let former = server.kit.provisioner.accept(removal(1, Uuid::from_u128(7))).await;
    assert!(matches!(former, Err(AcceptError::Refused(Refusal::Missing(_)))), "{former:?}");
    assert_eq!(server.stored().await, 1);
    assert_eq!(server.kit.accepted(removal(2, there)).await.release, Some(there));
}
