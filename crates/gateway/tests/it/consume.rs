//! Consumers that hold a connection open. WebSockets need a real connection: how they
//! go on is tested with the whole server.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, Request};
use futures::StreamExt as _;
use orderwire_types::Limits;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{Answer, NDJSON, Server, bearer};

/// What a consumer reads from its stream.
struct Reader {
    headers: HeaderMap,
    body: BodyDataStream,
    text: String,
}

/// One server-sent event.
#[derive(Debug)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

impl Reader {
    async fn open(server: &Server, path: &str, key: &str) -> Result<Self, Answer> {
        let request = Request::builder().uri(path).header("authorization", bearer(key));
        let request = request.body(Body::empty()).unwrap();
        let response = server.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        if parts.status == 200 {
            return Ok(Self { headers: parts.headers, body: body.into_data_stream(), text: String::new() });
        }
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec();
        Err(Answer { status: parts.status, headers: parts.headers, body })
    }

    async fn of(server: &Server, path: &str) -> Self {
        match Self::open(server, path, &server.admin).await {
            Ok(reader) => reader,
            Err(answer) => panic!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body)),
        }
    }

    /// The next event, comments aside; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let value = event.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
                    value.unwrap_or_default().to_owned()
                };
                let (name, id, data) = (field("event"), field("id"), field("data"));
                self.text = rest.to_owned();
                if !data.is_empty() {
                    return Some(Event { name, id, data: serde_json::from_str(&data).unwrap() });
                }
            }
            self.text.push_str(std::str::from_utf8(&self.body.next().await?.unwrap()).unwrap());
        }
    }

    /// The next delivery: its id and the number in its event.
    async fn delivery(&mut self) -> (String, Value) {
        let event = self.next().await.expect("an event");
        assert_eq!(event.name, "delivery", "{event:?}");
        assert_eq!(event.data["delivery_id"], event.id, "{event:?}");
        (event.id, event.data["event"]["data"]["n"].clone())
    }

    /// That nothing comes for now.
    async fn nothing(&mut self) {
        let waits = tokio::time::timeout(Duration::from_millis(50), self.next()).await;
        assert!(waits.is_err(), "{waits:?}");
    }
}

async fn publish(server: &Server, numbers: std::ops::Range<u32>) {
    let lines: String = numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect();
    server.call("POST", "/v1/events/shop.a", &[NDJSON], lines).await.ok(202);
}

async fn ack(server: &Server, id: &str) {
    server.post("/v1/queues/shop/ack", &json!({"delivery_ids": [id]})).await.ok(200);
}

#[tokio::test]
async fn deliveries_are_pushed_and_an_ack_frees_the_next() {
    let server = Server::start().await;
    publish(&server, 0..3).await;
    let mut reader = Reader::of(&server, "/v1/queues/shop/stream?max=2&lease_ms=5000").await;
    assert_eq!(reader.headers["content-type"], "text/event-stream");
    assert_eq!(reader.headers["cache-control"], "no-cache");
    let first = reader.next().await.unwrap();
    let leased = server.time.now() + Duration::from_secs(5);
    assert_eq!(first.data["attempt"], 1);
    assert_eq!(first.data["leased_until"], leased.to_string());
    assert_eq!(first.data["event"]["data"], json!({"n": 0}));
    assert_eq!(reader.delivery().await.1, 1);
    reader.nothing().await;
    ack(&server, &first.id).await;
    let (third, n) = reader.delivery().await;
    assert_eq!(n, 2);
    publish(&server, 3..4).await;
    reader.nothing().await;
    let nack = json!({"delivery_ids": [third], "fail": true});
    server.post("/v1/queues/shop/nack", &nack).await.ok(200);
    assert_eq!(reader.delivery().await.1, 3);
    let metrics = server.get("/v1/queues/shop").await.ok(200);
    assert_eq!((&metrics["in_flight"], &metrics["ready"]), (&json!(2), &json!(0)));
}

#[tokio::test]
async fn what_was_not_sent_goes_back_when_the_connection_ends() {
    let server = Server::start().await;
    publish(&server, 0..3).await;
    let mut reader = Reader::of(&server, "/v1/queues/shop/stream?max=3").await;
    let (first, _) = reader.delivery().await;
    drop(reader);
    // One key: those behind the first are free once it is settled, which it can be still.
    server.until_in_flight("shop", 1).await;
    ack(&server, &first).await;
    let leased = server.post("/v1/queues/shop/lease", &json!({"max": 9})).await.ok(200);
    let attempts: Vec<_> = leased["deliveries"].as_array().unwrap().iter().map(|it| &it["attempt"]).collect();
    assert_eq!(attempts, [1, 1]);
}

#[tokio::test]
async fn consumers_are_let_in_as_leases_are() {
    let server = Server::start().await;
    let consumer = server.key(json!({"roles": ["consume"], "clients": ["acme"]})).await;
    let reader = server.key(json!({"roles": ["read"]})).await;
    let refused = |path: &'static str, key: &str| {
        let key = key.to_owned();
        let server = &server;
        async move {
            match Reader::open(server, path, &key).await {
                Ok(_) => panic!("{path} was opened"),
                Err(answer) => answer,
            }
        }
    };
    for way in ["stream", "ws"] {
        let path = |queue: &str, query: &str| -> &'static str {
            Box::leak(format!("/v1/queues/{queue}/{way}{query}").into_boxed_str())
        };
        refused(path("shop", ""), "ow_nobody").await.problem(401, "unauthorized");
        refused(path("shop", ""), &reader).await.problem(403, "forbidden");
        refused(path("nothing", ""), &server.admin).await.problem(404, "not-found");
        refused(path("clients", ""), &server.admin).await.problem(409, "conflict");
        refused(path("shop", "?lease_ms=0"), &server.admin).await.problem(422, "invalid");
        refused(path("shop", "?speed=9"), &server.admin).await.problem(422, "invalid");
        server.post("/v1/queues", &json!({"name": "all", "types": ["#"], "kind": "stream"})).await;
        refused(path("all", ""), &consumer).await.problem(409, "conflict");
        let key = bearer(&consumer);
        let headers = [("orderwire-client", "bolt"), ("authorization", key.as_str())];
        server.call("GET", path("shop", ""), &headers, "").await.problem(403, "forbidden");
    }
    refused("/v1/queues/shop/stream?max=0", &server.admin).await.problem(422, "invalid");
    let plain = refused("/v1/queues/shop/ws", &server.admin).await;
    plain.problem(426, "upgrade-required");
    assert_eq!(plain.headers["upgrade"], "websocket");
    let bare = Request::builder().uri("/v1/queues/shop/ws").body(Body::empty()).unwrap();
    server.send(bare).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn a_key_may_come_as_a_subprotocol_of_a_websocket_only() {
    let server = Server::start().await;
    let offer = format!("orderwire, orderwire.key.{}", server.admin);
    let ask = |path: &str| {
        let request = Request::builder().uri(path).header("sec-websocket-protocol", &offer);
        server.send(request.body(Body::empty()).unwrap())
    };
    // It is no WebSocket, but the key was good.
    ask("/v1/queues/shop/ws").await.problem(426, "upgrade-required");
    ask("/v1/queues/shop/stream").await.problem(401, "unauthorized");
}

#[tokio::test]
async fn consumers_have_places() {
    let limits = Limits { consumer_connections: 3, consumer_connections_per_key: 2, ..Limits::default() };
    let server = Server::with(limits).await;
    let other = server.key(json!({"roles": ["consume"]})).await;
    let third = server.key(json!({"roles": ["consume"]})).await;
    let path = "/v1/queues/shop/stream";
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(Reader::open(&server, path, &server.admin).await.ok().unwrap());
    }
    let refused = |answer: Result<Reader, Answer>| answer.err().unwrap();
    let own = refused(Reader::open(&server, path, &server.admin).await);
    own.problem(429, "too-many-connections");
    assert_eq!(own.headers["retry-after"], "5");
    held.push(Reader::open(&server, path, &other).await.ok().unwrap());
    let all = refused(Reader::open(&server, path, &third).await);
    all.problem(503, "overloaded");
    assert_eq!(all.headers["retry-after"], "5");
    // They are no calls that are handled: everybody else is served.
    server.get("/v1/queues").await.ok(200);
    held.clear();
    assert!(Reader::open(&server, path, &third).await.is_ok());
}

#[tokio::test]
async fn a_consumer_goes_when_its_key_or_the_server_does() {
    let server = Server::start().await;
    let made = server.post("/v1/keys", &json!({"roles": ["consume"]})).await.ok(201);
    let key = made["key"].as_str().unwrap();
    let mut reader = Reader::open(&server, "/v1/queues/shop/stream", key).await.ok().unwrap();
    reader.nothing().await;
    let revoked = server.call("DELETE", &format!("/v1/keys/{}", made["id"].as_str().unwrap()), &[], "").await;
    assert!(revoked.status.is_success(), "{}", revoked.status);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(16)).await;
    let end = reader.next().await.unwrap();
    assert_eq!((end.name.as_str(), &end.data["status"]), ("problem", &json!(401)));
    assert!(reader.next().await.is_none());
    tokio::time::resume();

    let mut reader = Reader::of(&server, "/v1/queues/shop/stream").await;
    reader.nothing().await;
    server.queues.stop_waiting();
    assert!(reader.next().await.is_none());
    let late = Reader::open(&server, "/v1/queues/shop/stream", &server.admin).await.err().unwrap();
    late.problem(503, "unavailable");
}
