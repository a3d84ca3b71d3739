//! A gateway on a folder of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use orderwire_api::places::Places;
use orderwire_gateway::{Causes, Component, Gateway, Guards, KeyRing, Readiness, guarded, router};
use orderwire_queue::{Clock, ManualClock, Queues};
use orderwire_sqlite::store::SqliteStore;
use orderwire_sqlite::{DataDir, SqliteQueue};
use orderwire_store::Store;
use orderwire_types::queue::default_queues;
use orderwire_types::{Limits, Scope};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tower::ServiceExt;

pub(crate) struct Server {
    pub(crate) gateway: Gateway,
    pub(crate) app: Router,
    pub(crate) openapi: utoipa::openapi::OpenApi,
    pub(crate) queues: Queues,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) folder: TempDir,
    pub(crate) admin: String,
    pub(crate) time: ManualClock,
    _stop: oneshot::Sender<()>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|err| panic!("{err}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Asserts a problem of this status and slug and returns it.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, slug: &str) -> Value {
        let shown = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{shown}");
        assert_eq!(self.headers["content-type"], "application/problem+json", "{shown}");
        let problem = self.json();
        assert_eq!(problem["type"], format!("https://orderwire.dev/problems/{slug}"), "{shown}");
        assert_eq!(problem["status"], status, "{shown}");
        problem
    }

    #[track_caller]
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
}

struct AllFine;

#[async_trait]
impl Readiness for AllFine {
    async fn components(&self) -> Vec<Component> {
        vec![Component { name: "queue".into(), ok: true, detail: None }]
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        let engine = Arc::new(SqliteQueue::open(&dir, &orderwire_sqlite::Options::for_testing()).unwrap());
        let options = orderwire_sqlite::store::Options { limits: limits.clone(), ..Default::default() };
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir, options).unwrap());
        let (clock, time) = Clock::manual("2024-06-01T00:00:00Z".parse::<Timestamp>().unwrap());
        let mut configured = default_queues();
        let def = serde_json::from_value(json!({"types": ["shop.#"], "attempts": 2})).unwrap();
        configured.push(("shop".parse().unwrap(), def));
        let workers = [("data", "recorder"), ("clients", "recorder")];
        let workers: HashMap<_, _> =
            workers.map(|(queue, role)| (queue.parse().unwrap(), role.to_owned())).into();
        let options = orderwire_queue::Options::from(&limits);
        let (queues, service) =
            Queues::open(engine, configured, workers, options, clock.clone()).await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(service.run(async {
            let _ = stopped.await;
        }));
        let keys = Arc::new(KeyRing::new(store.clone(), clock.clone()));
        let path = folder.path().join("admin.key");
        assert!(keys.ensure_admin(&path, false).await.unwrap());
        let admin = std::fs::read_to_string(&path).unwrap().trim().to_owned();
        let (causes, writer) = Causes::open(store.clone());
        tokio::spawn(writer.run(std::future::pending()));
        let gateway = Gateway {
            queues: queues.clone(),
            outlet: Arc::new(queues.clone()),
            broker: None,
            store: store.clone(),
            causes,
            keys: keys.clone(),
            readiness: Arc::new(AllFine),
            clock,
            limits: limits.clone(),
            connections: Places::new(limits.consumer_connections, limits.consumer_connections_per_key),
        };
        let (app, openapi) = served(&gateway);
        Self { gateway, app, openapi, queues, store, keys, folder, admin, time, _stop: stop }
    }

    /// The same with this in the place of what it works on.
    pub(crate) fn on(&mut self, gateway: Gateway) {
        self.app = served(&gateway).0;
        self.gateway = gateway;
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// A call with the admin key and these further headers.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {}", self.admin));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// A new key with these settings.
    pub(crate) async fn key(&self, new: Value) -> String {
        let made = self.post("/v1/keys", &new).await.ok(201);
        made["key"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn air(&self) {
        let def = json!({
            "fields": [
                {"name": "station", "type": "text", "required": true},
                {"name": "at", "type": "timestamp", "required": true},
                {"name": "no2", "type": "float"},
                {"name": "count", "type": "integer"},
                {"name": "raw", "type": "json"},
            ],
            "key": ["station", "at"],
            "time": "at",
        });
        let json = [("content-type", "application/json")];
        self.call("PUT", "/v1/datasets/air", &json, def.to_string()).await.ok(201);
    }

    /// Does what the recorder does with the first sight of the default client,
    /// so that no announcement of it is on anybody's trace.
    pub(crate) async fn knows_default_client(&self) {
        use orderwire_types::{Client, EventId, RawJson, step::TraceRecord};
        let (client, trace) = (Client::default_client(), uuid::Uuid::from_u128(1));
        let change = orderwire_store::ClientChange {
            client: client.clone(),
            event_id: EventId(uuid::Uuid::from_u128(2)),
            at: self.time.now(),
            trace,
            attributes: RawJson::parse("{}".into()).unwrap(),
            steps: TraceRecord { trace, client, steps: Vec::new() },
        };
        self.store.change_clients(&[change]).await.unwrap();
    }

    /// Asks until so many deliveries of a queue are under a lease.
    pub(crate) async fn until_in_flight(&self, queue: &str, wanted: u64) {
        let asked = async {
            while self.get(&format!("/v1/queues/{queue}")).await.ok(200)["in_flight"] != wanted {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap();
    }

    /// The waiting events of a queue, as an operator sees them.
    pub(crate) async fn waiting(&self, queue: &str) -> Vec<Value> {
        let scope = Scope::internal("test");
        let entries = self.queues.peek(&scope, &queue.parse().unwrap(), 1_000).await.unwrap();
        let event = |(_, entry): (u32, orderwire_queue::Entry)| serde_json::from_slice(&entry.body).unwrap();
        entries.into_iter().map(event).collect()
    }

    /// The stored bytes of the first waiting event.
    pub(crate) async fn first_waiting(&self, queue: &str) -> String {
        let scope = Scope::internal("test");
        let entries = self.queues.peek(&scope, &queue.parse().unwrap(), 1).await.unwrap();
        String::from_utf8(entries[0].1.body.to_vec()).unwrap()
    }
}

fn served(gateway: &Gateway) -> (Router, utoipa::openapi::OpenApi) {
    let (routes, openapi) = router(gateway.clone(), None).split_for_parts();
    let guards = Guards {
        authenticator: gateway.keys.clone(),
        concurrent_requests: gateway.limits.concurrent_requests,
        time_out: Duration::from_secs(60),
    };
    (guarded(routes, guards), openapi)
}

pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
pub(crate) const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
pub(crate) const CSV: (&str, &str) = ("content-type", "text/csv");

/// The header of a key.
pub(crate) fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}
