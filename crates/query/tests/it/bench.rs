//! A store on disk with rows, keys with scopes, and calls.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::{Extension, Router};
use http_body_util::BodyExt;
use jiff::Timestamp;
use orderwire_api::{Authenticator, Problem};
use orderwire_cache::{Cache, MemoryCache};
use orderwire_query::{Clock, Freshness, Options, Read, Shape, ViewDef, router};
use orderwire_sqlite::DataDir;
use orderwire_sqlite::store::SqliteStore;
use orderwire_store::{Datasets, Recording, RowsEvent, Source};
use orderwire_types::dataset::DatasetDef;
use orderwire_types::{EventId, RawJson, Right, Scope, scope};
use tower::ServiceExt;
use uuid::Uuid;

use crate::watched::Watched;

pub(crate) const AIR: &str = r#"{"fields":[
    {"name":"TimeInstant","type":"timestamp","required":true},{"name":"id_entity","type":"text","required":true},
    {"name":"no2","type":"float"},{"name":"n","type":"integer"},{"name":"ok","type":"boolean"},
    {"name":"raw","type":"json"}],"key":["TimeInstant","id_entity"],"time":"TimeInstant"}"#;

pub(crate) struct Bench {
    pub(crate) app: Router,
    pub(crate) store: Arc<Watched>,
    now_us: Arc<AtomicI64>,
    dir: Arc<tempfile::TempDir>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) bytes: bytes::Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) fn view(path: &str) -> ViewDef {
    ViewDef {
        path: path.to_owned(),
        dataset: "air".parse().unwrap(),
        columns: None,
        filter: None,
        params: Vec::new(),
        order: None,
        shape: Shape::Rows,
        limit: None,
        freshness: Freshness::Strict,
        ttl: Duration::from_secs(3_600),
        read: Read::Key,
    }
}

pub(crate) fn public(clients: &[&str]) -> Read {
    Read::Public(scope::Clients::Only(clients.iter().map(|client| client.parse().unwrap()).collect()))
}

impl Bench {
    pub(crate) async fn new(views: Vec<ViewDef>) -> Self {
        Self::with(Options::for_testing(), views).await
    }

    pub(crate) async fn with(options: Options, views: Vec<ViewDef>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let store = SqliteStore::open(&data, orderwire_sqlite::store::Options::default()).unwrap();
        let store = Arc::new(Watched::new(store));
        let def: DatasetDef = serde_json::from_str(AIR).unwrap();
        let name = "air".parse().unwrap();
        store.define(&Scope::internal("test"), &name, &def, Timestamp::UNIX_EPOCH).await.unwrap();

        let now_us = Arc::new(AtomicI64::new(1_700_000_000_000_000));
        Self::node(&options, views, store, Arc::new(MemoryCache::new(64 << 20)), now_us, Arc::new(dir))
    }

    /// Another server on the same store.
    pub(crate) fn beside(&self, views: Vec<ViewDef>, cache: Arc<dyn Cache>) -> Self {
        let (store, now_us, dir) = (self.store.clone(), self.now_us.clone(), self.dir.clone());
        Self::node(&Options::for_testing(), views, store, cache, now_us, dir)
    }

    fn node(
        options: &Options,
        views: Vec<ViewDef>,
        store: Arc<Watched>,
        cache: Arc<dyn Cache>,
        now_us: Arc<AtomicI64>,
        dir: Arc<tempfile::TempDir>,
    ) -> Self {
        let clock = now_us.clone();
        let clock = Clock::from_fn(move || Timestamp::from_microsecond(clock.load(SeqCst)).unwrap());
        let (app, _) = router(Options { clock, ..options.clone() }, views, store.clone(), cache)
            .unwrap_or_else(|faults| panic!("{faults:?}"))
            .split_for_parts();
        let app = app.layer(Extension(Arc::new(Keyring::default()) as Arc<dyn Authenticator>));
        Self { app, store, now_us, dir }
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.now_us.fetch_add(i64::try_from(time.as_micros()).unwrap(), SeqCst);
    }

    /// Records rows of a client: a JSON array.
    pub(crate) async fn record(&self, client: &str, rows: &str) {
        let from = self.store.position("data").await.unwrap();
        let event = RowsEvent {
            dataset: "air".parse().unwrap(),
            client: client.parse().unwrap(),
            event_id: EventId(Uuid::now_v7()),
            trace: Uuid::from_u128(7),
            rows: RawJson::parse(rows.to_owned()).unwrap(),
            accepted_at: Timestamp::UNIX_EPOCH,
            import: None,
            remembered: false,
        };
        let recording = Recording {
            reader: "data".to_owned(),
            source: Source::Stream { from, to: from + 1 },
            events: vec![event],
            now: Timestamp::UNIX_EPOCH,
        };
        self.store.record(recording).await.unwrap();
    }

    /// Three rows of two stations, one of another client.
    pub(crate) async fn sample(&self) {
        self.record(
            "default",
            r#"[{"TimeInstant":"2026-01-01T00:00:00Z","id_entity":"s1","no2":1.5,"n":9007199254740993,"ok":true,
                 "raw":{"a":1.10}},
                {"TimeInstant":"2026-01-01T01:00:00.25Z","id_entity":"s2","no2":2.5,"n":2,"ok":false},
                {"TimeInstant":"2026-01-01T02:00:00Z","id_entity":"s1","n":3}]"#,
        )
        .await;
        self.record("acme", r#"[{"TimeInstant":"2026-01-02T00:00:00Z","id_entity":"x,1","n":4}]"#).await;
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        // A compressed answer is no text.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: parts.status, headers: parts.headers, text, bytes }
    }

    /// With the key of everyone's rows.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[("authorization", "Bearer all")]).await
    }

    pub(crate) async fn get_with(&self, path: &str, header: (&str, &str)) -> Answer {
        self.send("GET", path, &[("authorization", "Bearer all"), header]).await
    }

    pub(crate) fn selects(&self) -> u64 {
        self.store.selects()
    }
}

/// Knows four keys.
pub(crate) struct Keyring(HashMap<&'static str, Arc<Scope>>);

impl Default for Keyring {
    fn default() -> Self {
        let scope = |name: &str, clients: &[&str], right, object: Option<&str>| {
            let only = clients.iter().map(|client| client.parse().unwrap()).collect();
            Arc::new(Scope {
                principal: format!("key:{name}").into(),
                clients: if clients.is_empty() { scope::Clients::All } else { scope::Clients::Only(only) },
                rights: [right].into(),
                objects: object.map(|object| [object.to_owned()].into()),
            })
        };
        Self(HashMap::from([
            ("all", scope("all", &[], Right::Read, None)),
            ("acme", scope("acme", &["acme"], Right::Read, None)),
            ("writer", scope("writer", &[], Right::Write, None)),
            ("other", scope("other", &[], Right::Read, Some("dataset/other"))),
        ]))
    }
}

#[async_trait]
impl Authenticator for Keyring {
    async fn authenticate(&self, key: &str) -> Result<Arc<Scope>, Problem> {
        self.0.get(key).cloned().ok_or_else(|| Problem::unauthorized("unknown key"))
    }
}
