//! Watching an order over a real connection.

use std::net::SocketAddr;

use orderwire_store::Orders as _;
use orderwire_store::orders::Advance;
use orderwire_types::OrderState;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::accept_kit::start;
use crate::http_kit::{Server, journal, state};

/// One event as it arrived.
#[derive(Debug, PartialEq)]
struct Seen {
    event: String,
    id: Option<String>,
    data: Value,
}

struct Watch {
    lines: tokio::io::Lines<BufReader<TcpStream>>,
    status: String,
}

async fn listen(server: &Server) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = server.app.clone();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

impl Watch {
    async fn open(address: SocketAddr, order: &str, key: &str, after: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let after = after.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        // HTTP/1.0: the answer ends with the connection and has no chunks.
        let request = format!("GET /v1/orders/{order}/watch HTTP/1.0\r\nx-api-key: {key}\r\n{after}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        let status = lines.next_line().await.unwrap().unwrap();
        while lines.next_line().await.unwrap().is_some_and(|line| !line.is_empty()) {}
        Self { lines, status }
    }

    /// The next event; `None` when the stream has ended.
    async fn next(&mut self) -> Option<Seen> {
        let (mut event, mut id, mut data) = (String::new(), None, None);
        loop {
            let line = self.lines.next_line().await.unwrap()?;
            match line.split_once(": ") {
                Some(("event", name)) => event = name.to_owned(),
                Some(("id", number)) => id = Some(number.to_owned()),
                Some(("data", text)) => data = Some(serde_json::from_str(text).unwrap()),
                _ => {}
            }
            if line.is_empty()
                && let Some(data) = data.take()
            {
                return Some(Seen { event, id, data });
            }
        }
    }

    async fn rest(mut self) -> Vec<Seen> {
        assert!(self.status.contains(" 200 "), "{}", self.status);
        let mut all = Vec::new();
        while let Some(seen) = self.next().await {
            all.push(seen);
        }
        all
    }
}

fn names(seen: &[Seen]) -> Vec<String> {
    let name = |seen: &Seen| match seen.event.as_str() {
        "state" => format!("state {}", seen.data["state"].as_str().unwrap()),
        "step" => format!("step {}", seen.id.as_ref().unwrap()),
        other => other.to_owned(),
    };
    seen.iter().map(name).collect()
}

#[tokio::test]
async fn a_watcher_sees_every_step_until_the_end() {
    let server = Server::start();
    let order = server.sensor().await;
    let address = listen(&server).await;
    let mut watch = Watch::open(address, &order, "reader", None).await;
    let mut seen = vec![watch.next().await.unwrap()];
    assert_eq!(seen[0].data["order_id"], order.as_str());
    let lease = server.claim().await;
    server.advance(lease, &order, journal("plan", "begun")).await;
    seen.push(watch.next().await.unwrap());
    assert_eq!((&seen[1].data["step"], &seen[1].data["n"]), (&json!("plan"), &json!(1)));
    let planned = Advance { state: state(OrderState::Planned).state, ..journal("plan", "done") };
    server.advance(lease, &order, planned).await;
    seen.push(watch.next().await.unwrap());
    seen.push(watch.next().await.unwrap());
    let failed = Advance {
        state: Some((OrderState::Failed, Some("the port is taken".to_owned()))),
        ..journal("apply", "failed")
    };
    server.advance(lease, &order, failed).await;
    seen.extend(watch.rest().await);
    assert_eq!(
        names(&seen),
        ["state accepted", "step 1", "step 2", "state planned", "step 3", "state failed", "end"]
    );
    assert_eq!(seen[5].data["reason"], "the port is taken");
    assert_eq!(seen[6].data["state"], "failed");
}

#[tokio::test]
async fn a_watcher_goes_on_after_the_step_that_it_saw_last() {
    let server = Server::start();
    let order = server.sensor().await;
    let address = listen(&server).await;
    let lease = server.claim().await;
    for n in 0..450 {
        server.advance(lease, &order, journal("wait", if n % 2 == 0 { "begun" } else { "done" })).await;
    }
    server.advance(lease, &order, state(OrderState::Ready)).await;
    let after = Watch::open(address, &order, "reader", Some("448")).await.rest().await;
    assert_eq!(names(&after), ["step 449", "step 450", "state ready", "end"]);
    let all = Watch::open(address, &order, "reader", None).await.rest().await;
    assert_eq!(all.len(), 452, "more steps than are read at once");
    let bad = Watch::open(address, &order, "reader", Some("x")).await;
    assert!(bad.status.contains(" 422 "), "{}", bad.status);
}

#[tokio::test]
async fn a_state_comes_before_the_steps_that_are_later() {
    let server = Server::start();
    let order = server.sensor().await;
    let address = listen(&server).await;
    let lease = server.claim().await;
    let planned = Advance { state: state(OrderState::Planned).state, ..journal("plan", "done") };
    server.advance(lease, &order, planned).await;
    let later = Advance { at: start() + std::time::Duration::from_secs(1), ..journal("prepare", "begun") };
    let id = order.parse().unwrap();
    server.kit.store.advance(lease, id, later).await.unwrap();
    let mut watch = Watch::open(address, &order, "reader", None).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(watch.next().await.unwrap());
    }
    assert_eq!(names(&seen), ["step 1", "state planned", "step 2"]);
}

#[tokio::test]
async fn a_drain_ends_watchers() {
    let server = Server::start();
    let order = server.sensor().await;
    let address = listen(&server).await;
    let mut watch = Watch::open(address, &order, "reader", None).await;
    assert_eq!(watch.next().await.unwrap().event, "state");
    server.closing.cancel();
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn a_revoked_key_sees_nothing_more() {
    let server = Server::start();
    let order = server.sensor().await;
    let address = listen(&server).await;
    let mut watch = Watch::open(address, &order, "reader", None).await;
    assert_eq!(watch.next().await.unwrap().event, "state");
    server.revoke("reader");
    let lease = server.claim().await;
    server.advance(lease, &order, journal("plan", "begun")).await;
    let rest = watch.rest().await;
    assert_eq!(names(&rest), ["problem"]);
    assert_eq!(rest[0].data["status"], 401);
}

#[tokio::test]
async fn watchers_beyond_the_limit_of_their_key_are_told_to_come_later() {
    let server = Server::start();
    let order = server.sensor().await;
    let path = format!("/v1/orders/{order}/watch");
    let request =
        || axum::http::Request::get(&path).header("x-api-key", "reader").body(axum::body::Body::empty());
    let mut held = Vec::new();
    for _ in 0..100 {
        use tower::ServiceExt as _;
        let response = server.app.clone().oneshot(request().unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        held.push(response);
    }
    let refused = server.get("reader", &path).await;
    refused.problem(503, "overloaded");
    assert_eq!(refused.headers["retry-after"], "5");
    held.pop();
    server.kit.store.cancel(&crate::accept_kit::scope(), order.parse().unwrap(), start()).await.unwrap();
    let body = server.get("reader", &path).await.body;
    assert!(String::from_utf8(body).unwrap().contains("event: end"));
}
