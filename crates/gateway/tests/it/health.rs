//! Health and the guards.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use http_body_util::BodyExt;
use orderwire_api::{Authenticator, Problem};
use orderwire_gateway::{Guards, guarded};
use orderwire_types::Scope;
use serde_json::json;
use tower::ServiceExt;

use crate::support::Server;

#[tokio::test]
async fn health_is_open_and_tells_details_to_callers_only() {
    let server = Server::start().await;
    for (path, status) in [("/healthz", "ok"), ("/readyz", "ready")] {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        assert_eq!(server.send(request).await.ok(200), json!({"status": status}));
    }
    let ready = server.get("/readyz").await.ok(200);
    assert_eq!(ready["components"], json!([{"name": "queue", "ok": true}]));
}

#[tokio::test]
async fn everything_else_needs_a_key() {
    let server = Server::start().await;
    for path in
        ["/v1/queues", "/v1/datasets", "/v1/keys", "/v1/whoami", "/v1/dead", "/v1/clients", "/v1/traces/x"]
    {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        server.send(request).await.problem(401, "unauthorized");
    }
}

#[tokio::test]
async fn panics_load_and_slow_calls_are_problems() {
    let server = Server::start().await;
    let routes = Router::new()
        .route("/panics", get(|| async { panic!("on purpose") as () }))
        .route("/waits", get(std::future::pending::<()>))
        .route("/healthz", get(|| async { "alive" }));
    let guards = Guards {
        authenticator: server.keys.clone(),
        concurrent_requests: 1,
        time_out: Duration::from_millis(200),
    };
    let app = guarded(routes, guards);
    let call = |path: &'static str| {
        let app = app.clone();
        async move { app.oneshot(Request::builder().uri(path).body(Body::empty()).unwrap()).await.unwrap() }
    };
    assert_eq!(call("/panics").await.status(), 500);
    // Polled in this order: the first takes the only place.
    let (slow, shed, health) = tokio::join!(call("/waits"), call("/panics"), call("/healthz"));
    assert_eq!(
        (slow.status(), shed.status(), health.status()),
        (503.try_into().unwrap(), 503.try_into().unwrap(), 200.try_into().unwrap())
    );
    assert!(shed.headers().contains_key("retry-after"));
    let _ = Arc::strong_count(&server.keys);
}

struct Nobody;

#[async_trait]
impl Authenticator for Nobody {
    async fn authenticate(&self, _: &str) -> Result<Arc<Scope>, Problem> {
        Err(Problem::unauthorized("nobody is known"))
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_streams_holds_no_place_and_is_not_cut() {
    let (tell, told) = futures::channel::mpsc::unbounded::<Result<&'static str, std::io::Error>>();
    let told = Arc::new(std::sync::Mutex::new(Some(told)));
    let streams = move || {
        let told = told.lock().unwrap().take().unwrap();
        async move { Body::from_stream(told) }
    };
    let routes = Router::new().route("/streams", get(streams)).route("/quick", get(|| async { "quick" }));
    let time_out = Duration::from_millis(200);
    let app = guarded(routes, Guards { authenticator: Arc::new(Nobody), concurrent_requests: 1, time_out });
    let call =
        |path: &'static str| app.clone().oneshot(Request::builder().uri(path).body(Body::empty()).unwrap());
    let mut watch = call("/streams").await.unwrap().into_body();
    assert_eq!(call("/quick").await.unwrap().status(), 200);
    tokio::time::advance(Duration::from_secs(3_600)).await;
    tell.unbounded_send(Ok("news")).unwrap();
    let frame = watch.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "news");
}
