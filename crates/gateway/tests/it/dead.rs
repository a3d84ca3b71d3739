//! Dead letters over HTTP.

use std::time::Duration;

use orderwire_queue::Position;
use serde_json::{Value, json};

use crate::support::{Answer, JSON, Server, bearer};

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

/// The only dead letter, whole, and its ETag.
async fn only(server: &Server) -> (Value, String) {
    let id = list(server, "").await[0]["id"].as_str().unwrap().to_owned();
    let answer = server.get(&format!("/v1/dead/{id}")).await;
    let etag = answer.headers["etag"].to_str().unwrap().to_owned();
    let letter = answer.ok(200);
    assert_eq!(etag, format!("\"{}\"", letter["etag"].as_str().unwrap()));
    (letter, etag)
}

async fn edit(server: &Server, letter: &Value, based_on: &[(&str, &str)], body: &str) -> Answer {
    let path = format!("/v1/dead/{}", letter["id"].as_str().unwrap());
    server.call("PATCH", &path, &[&[JSON], based_on].concat(), body.to_owned()).await
}

#[tokio::test]
async fn an_edit_changes_the_data_and_nothing_else() {
    let server = with_dead(&["shop.a"]).await;
    let (letter, etag) = only(&server).await;
    let body = r#"{"data":{"n":9007199254740993,"client":"default","x":null},"reason":"it had no n"}"#;
    let edited = edit(&server, &letter, &[("if-match", &etag)], body).await;
    let new_etag = edited.headers["etag"].to_str().unwrap().to_owned();
    assert_ne!(new_etag, etag);
    let text = String::from_utf8(edited.body.clone()).unwrap();
    assert!(text.contains(r#""data":{"n":9007199254740993,"client":"default","x":null}"#), "{text}");
    let edited = edited.ok(200);
    for same in ["id", "queue", "event_id", "type", "client", "trace_id", "attempts", "cause", "died_at"] {
        assert_eq!(edited[same], letter[same], "{same}");
    }
    for same in ["id", "source", "type", "client", "eventid", "traceparent", "time"] {
        assert_eq!(edited["event"][same], letter["event"][same], "{same} of the event");
    }

    // Somebody else looked at the letter before.
    let late = edit(&server, &letter, &[("if-match", &etag)], r#"{"data":1}"#).await;
    late.problem(412, "precondition-failed");
    edit(&server, &letter, &[], r#"{"data":1}"#).await.problem(428, "precondition-required");
    edit(&server, &letter, &[("if-match", "x")], r#"{"data":1}"#).await.problem(422, "invalid");
    assert_eq!(only(&server).await.1, new_etag);

    server.post("/v1/dead/replay", &json!({"ids": [letter["id"]]})).await.ok(200);
    let waiting = server.waiting("shop").await;
    assert_eq!(waiting[0]["id"], letter["event_id"]);
    edit(&server, &letter, &[("if-match", &new_etag)], r#"{"data":1}"#).await.problem(404, "not-found");
    let trace = server.get(&format!("/v1/traces/{}", letter["trace_id"].as_str().unwrap())).await.ok(200);
    let steps = trace["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["step"] == "edited").unwrap();
    assert_eq!(step["detail"], "it had no n");
    assert!(step["role"].as_str().unwrap().starts_with("key:"), "{step}");
    assert_eq!(steps.last().unwrap()["step"], "replayed");
}

#[tokio::test]
async fn an_edit_is_checked_before_it_is_made() {
    let server = with_dead(&["shop.a"]).await;
    let (letter, etag) = only(&server).await;
    for (body, status, slug, pointer) in [
        ("", 400, "malformed", None),
        ("{", 400, "malformed", None),
        ("{}", 422, "invalid", None),
        (r#"{"data":1,"data_base64":"AA=="}"#, 422, "invalid", None),
        (r#"{"data":1,"client":"x"}"#, 422, "invalid", None),
        (r#"{"data":{"client":"other"}}"#, 422, "invalid", Some("/data/client")),
        (r#"{"data_base64":"AA=="}"#, 422, "invalid", Some("/data_base64")),
    ] {
        let problem = edit(&server, &letter, &[("if-match", &etag)], body).await.problem(status, slug);
        if let Some(pointer) = pointer {
            assert_eq!(problem["pointer"], pointer, "{body}");
        }
    }
    let deep = |levels| format!(r#"{{"data":{}1{}}}"#, "[".repeat(levels), "]".repeat(levels));
    edit(&server, &letter, &[("if-match", &etag)], &deep(65)).await.problem(422, "invalid");
    edit(&server, &letter, &[("if-match", "*")], &deep(64)).await.ok(200);
    let long = format!(r#"{{"data":1,"reason":"{}"}}"#, "x".repeat(5_000));
    let problem = edit(&server, &letter, &[("if-match", "*")], &long).await.problem(422, "invalid");
    assert_eq!(problem["pointer"], "/reason");
    let large = format!(r#"{{"data":"{}"}}"#, "x".repeat(1 << 20));
    edit(&server, &letter, &[("if-match", "*")], &large).await.problem(413, "too-large");
}

#[tokio::test]
async fn an_edit_needs_the_right_to_operate_and_the_client() {
    let server = with_dead(&["shop.a"]).await;
    let (letter, etag) = only(&server).await;
    let path = format!("/v1/dead/{}", letter["id"].as_str().unwrap());
    for (key, status, slug) in [
        (json!({"name": "c", "roles": ["consume"]}), 403, "forbidden"),
        (json!({"name": "o", "roles": ["operate"], "clients": ["acme"]}), 404, "not-found"),
    ] {
        let key = bearer(&server.key(key).await);
        let headers = [JSON, ("authorization", key.as_str()), ("if-match", etag.as_str())];
        server.call("PATCH", &path, &headers, r#"{"data":1}"#).await.problem(status, slug);
    }
}

/// Who may not order must not get what they want by editing somebody's order.
#[tokio::test]
async fn what_an_event_orders_is_edited_with_the_right_to_order_only() {
    let server = with_dead(&["shop.a"]).await;
    let (letter, _) = only(&server).await;
    let path = format!("/v1/dead/{}", letter["id"].as_str().unwrap());
    let call = async |roles: Value, body: &'static str| {
        let key = bearer(&server.key(json!({"name": "o", "roles": roles})).await);
        let headers = [JSON, ("authorization", key.as_str()), ("if-match", "*")];
        server.call("PATCH", &path, &headers, body).await
    };
    call(json!(["operate"]), r#"{"data":{"product":"web"}}"#).await.problem(403, "forbidden");
    call(json!(["operate"]), r#"{"data":{"product":""}}"#).await.ok(200);
    call(json!(["operate", "order"]), r#"{"data":{"product":"web"}}"#).await.ok(200);
}

/// A letter of the rows that this request brings.
async fn dead_rows(server: &Server, query: &str, rows: &str) -> (Value, String) {
    server.air().await;
    server.call("POST", &format!("/v1/datasets/air/rows{query}"), &[JSON], rows.to_owned()).await.ok(202);
    let data = "data".parse().unwrap();
    let entries = server.queues.read(&data, Position(0), 1, 1, Duration::ZERO).await.unwrap();
    server.queues.bury(&data, entries[0].position, 1, "the dataset changed").await.unwrap();
    only(server).await
}

const ROW: &str = r#"{"station":"x","at":"2024-01-01T00:00:00Z","no2":1.50}"#;

#[tokio::test]
async fn edited_rows_are_checked_against_their_dataset() {
    let server = Server::start().await;
    server.knows_default_client().await;
    let (letter, etag) = dead_rows(&server, "", &format!("[{ROW},{ROW}]")).await;
    for (data, pointer) in [
        (r#"[{"station":"x"}]"#.to_owned(), "/data/0/at"),
        (format!("[{ROW},{}]", ROW.replace("1.50", "\"much\"")), "/data/1/no2"),
        ("7".to_owned(), "/data"),
    ] {
        let body = format!(r#"{{"data":{data}}}"#);
        let problem = edit(&server, &letter, &[("if-match", &etag)], &body).await.problem(422, "invalid");
        assert_eq!(problem["pointer"], pointer, "{data}");
    }
    let body = format!(r#"{{"data":[{}]}}"#, ROW.replace("1.50", "2.750"));
    let edited = edit(&server, &letter, &[("if-match", &etag)], &body).await;
    assert!(String::from_utf8_lossy(&edited.body).contains("2.750"));
    edited.ok(200);
    server.call("DELETE", "/v1/datasets/air", &[], "").await;
    edit(&server, &letter, &[("if-match", "*")], &body).await.problem(422, "invalid");
}

#[tokio::test]
async fn edited_rows_of_a_file_keep_their_places_in_it() {
    let server = Server::start().await;
    server.knows_default_client().await;
    let query = format!("?import={}&first=0", "0".repeat(64));
    let (letter, etag) = dead_rows(&server, &query, &format!("[{ROW},{ROW}]")).await;
    let fewer = format!(r#"{{"data":[{ROW}]}}"#);
    let problem = edit(&server, &letter, &[("if-match", &etag)], &fewer).await.problem(422, "invalid");
    assert!(problem["detail"].as_str().unwrap().contains("2 rows of an imported file"), "{problem}");
    let same = format!(r#"{{"data":[{ROW},{}]}}"#, ROW.replace("1.50", "2"));
    edit(&server, &letter, &[("if-match", &etag)], &same).await.ok(200);
}

/// Asks for a replay until it is as wanted.
async fn until(server: &Server, url: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let looks = async {
        loop {
            let replay = server.get(url).await.ok(200);
            if wanted(&replay) {
                return replay;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), looks).await.unwrap()
}

#[tokio::test]
async fn a_replay_at_a_rate_is_followed_to_its_end() {
    let server = with_dead(&["shop.a", "shop.b", "shop.a"]).await;
    let action = json!({"filter": {"type": "shop.a"}, "rate": 10_000, "dry_run": true});
    assert_eq!(server.post("/v1/dead/replay", &action).await.ok(200), json!({"count": 2, "dry_run": true}));
    let action = json!({"filter": {"type": "shop.a"}, "rate": 10_000});
    let begun = server.post("/v1/dead/replay", &action).await;
    let url = begun.headers["location"].to_str().unwrap().to_owned();
    let begun = begun.ok(202);
    assert_eq!(begun["status_url"], url);
    assert_eq!((begun["matched"].as_u64(), begun["rate"].as_u64()), (Some(2), Some(10_000)));
    let ended = until(&server, &url, |replay| replay["state"] != "running").await;
    assert_eq!((ended["state"].as_str(), ended["done"].as_u64()), (Some("done"), Some(2)));
    assert_eq!(ended["filter"], json!({"type": "shop.a"}));
    assert!(ended["ended_at"].is_string(), "{ended}");
    assert_eq!(server.waiting("shop").await.len(), 2);
    assert_eq!(list(&server, "").await.len(), 1);

    let again = server.post("/v1/dead/replay", &action).await.ok(202);
    let ended = until(&server, again["status_url"].as_str().unwrap(), |one| one["state"] == "done").await;
    assert_eq!((ended["matched"].as_u64(), ended["done"].as_u64()), (Some(0), Some(0)));
    let all = server.get("/v1/dead/replays").await.ok(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    // Its end changes nothing any more.
    let late = server.post(&format!("{url}/cancel"), &json!({})).await.ok(200);
    assert_eq!(late["state"], "done");
}

#[tokio::test]
async fn replays_at_a_rate_are_few_and_cancelled() {
    let server = with_dead(&["shop.a", "shop.b", "shop.c"]).await;
    for wrong in [json!(0), json!(10_001), json!(-1), json!(2.5), json!("5")] {
        let action = json!({"filter": {}, "rate": wrong});
        let problem = server.post("/v1/dead/replay", &action).await.problem(422, "invalid");
        assert_eq!(problem["pointer"], "/rate", "{wrong}");
    }
    let discard = json!({"filter": {}, "rate": 1});
    assert_eq!(server.post("/v1/dead/discard", &discard).await.problem(422, "invalid")["pointer"], "/rate");

    let slow = json!({"filter": {}, "rate": 1});
    let mut urls = Vec::new();
    for _ in 0..4 {
        let begun = server.post("/v1/dead/replay", &slow).await.ok(202);
        assert_eq!(begun["state"], "running");
        urls.push(begun["status_url"].as_str().unwrap().to_owned());
    }
    let fifth = server.post("/v1/dead/replay", &slow).await;
    assert_eq!(fifth.headers["retry-after"], "10");
    fifth.problem(429, "busy");
    for url in &urls {
        let ended = server.post(&format!("{url}/cancel"), &json!({})).await.ok(200);
        assert_eq!(ended["state"], "cancelled", "{ended}");
    }
    // What was not put back is where it was.
    let (left, waiting) = (list(&server, "").await.len(), server.waiting("shop").await.len());
    assert_eq!(left + waiting, 3);
    assert!(left > 0, "one letter a second, and all of them went at once");
    server.post("/v1/dead/replay", &json!({"filter": {}, "rate": 10_000})).await.ok(202);
    server.get("/v1/dead/replays/no-such").await.problem(404, "not-found");
}

#[tokio::test]
async fn a_replay_is_seen_within_its_clients_only() {
    let server = with_dead(&["shop.a"]).await;
    let begun = server.post("/v1/dead/replay", &json!({"filter": {}, "rate": 1})).await.ok(202);
    let url = begun["status_url"].as_str().unwrap();
    let key = server.key(json!({"name": "o", "roles": ["operate"], "clients": ["acme"]})).await;
    let key = bearer(&key);
    let headers = [("authorization", key.as_str())];
    server.call("GET", url, &headers, "").await.problem(404, "not-found");
    server.call("POST", &format!("{url}/cancel"), &headers, "").await.problem(404, "not-found");
    let all = server.call("GET", "/v1/dead/replays", &headers, "").await.ok(200);
    assert_eq!(all["items"], json!([]));
    let reader = bearer(&server.key(json!({"name": "r", "roles": ["read", "consume"]})).await);
    let headers = [("authorization", reader.as_str())];
    server.call("GET", "/v1/dead/replays", &headers, "").await.problem(403, "forbidden");
}
