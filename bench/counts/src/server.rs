//! The server without a listener: the routes that are counted, within the guards and
//! over the embedded engines, put together as `crates/runtime` does.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use orderwire_api::places::Places;
use orderwire_cache::MemoryCache;
use orderwire_gateway::{Causes, Component, Gateway, Guards, KeyRing, Readiness, guarded};
use orderwire_query::{Freshness, Read, Shape, ViewDef};
use orderwire_queue::{Clock, ManualClock, Queues};
use orderwire_sqlite::store::SqliteStore;
use orderwire_sqlite::{DataDir, SqliteQueue};
use orderwire_store::Store;
use orderwire_types::queue::default_queues;
use orderwire_types::{Limits, Scope, scope};
use tokio::sync::oneshot;
use tower::ServiceExt as _;

use crate::inputs;
use crate::path::Run;

/// The view's path.
pub(crate) const VIEW: &str = "/api/v1/measures/air";

pub(crate) struct Server {
    pub(crate) store: Arc<dyn Store>,
    app: Router,
    authorization: String,
    _hand: ManualClock,
    _stop: oneshot::Sender<()>,
}

struct Ready;

#[async_trait]
impl Readiness for Ready {
    async fn components(&self) -> Vec<Component> {
        Vec::new()
    }
}

impl Server {
    /// A server with the dataset `air` and its view.
    pub(crate) async fn start(run: &Run) -> Result<Self> {
        let limits = Limits::default();
        let dir = DataDir::open(&run.folder)?;
        let engine = Arc::new(SqliteQueue::open(&dir, &orderwire_sqlite::Options::default())?);
        let store = Arc::new(SqliteStore::open(&dir, orderwire_sqlite::store::Options::default())?);
        let store: Arc<dyn Store> = store;
        // It stands still: nothing becomes due.
        let (clock, hand) = Clock::manual(inputs::now());
        let scope = Scope::internal("counts");
        store.define(&scope, &"air".parse()?, &serde_json::from_str(inputs::AIR)?, clock.now()).await?;
        // What happens every so often must not happen within a run.
        let options = orderwire_queue::Options {
            figures_every: Duration::from_secs(86_400),
            ..orderwire_queue::Options::from(&limits)
        };
        let workers = [("data".parse()?, "recorder".to_owned())].into();
        let (queues, service) =
            Queues::open(engine, default_queues(), workers, options, clock.clone()).await?;
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(service.run(async {
            // An error means that the server was dropped, which is the end as well.
            let _ = stopped.await;
        }));
        let keys = Arc::new(KeyRing::new(store.clone(), clock.clone()));
        let file = run.folder.join("admin.key");
        keys.ensure_admin(&file, false).await?;
        let key = std::fs::read_to_string(&file).context("read the key")?;
        // Nothing that is counted says what caused it.
        let (causes, _) = Causes::open(store.clone());
        let gateway = Gateway {
            outlet: Arc::new(queues.clone()),
            queues,
            broker: None,
            store: store.clone(),
            causes,
            keys: keys.clone(),
            readiness: Arc::new(Ready),
            clock,
            limits: limits.clone(),
            connections: Places::new(limits.consumer_connections, limits.consumer_connections_per_key),
        };
        let gateway = orderwire_gateway::router(gateway, None);
        let (routes, _) = gateway.merge(reads(&store)?).split_for_parts();
        let guards = Guards {
            authenticator: keys,
            concurrent_requests: limits.concurrent_requests,
            time_out: Duration::from_secs(3_600),
        };
        let authorization = format!("Bearer {}", key.trim());
        Ok(Self { store, app: guarded(routes, guards), authorization, _hand: hand, _stop: stop })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Bytes> {
        self.call(Request::get(path).body(Body::empty())?, 200).await
    }

    pub(crate) async fn post(&self, path: &str, content_type: &str, body: Bytes) -> Result<()> {
        let request = Request::post(path).header("content-type", content_type).body(Body::from(body))?;
        self.call(request, 202).await.map(drop)
    }

    async fn call(&self, mut request: Request<Body>, wanted: u16) -> Result<Bytes> {
        request.headers_mut().insert("authorization", self.authorization.parse()?);
        let (parts, body) = self.app.clone().oneshot(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        ensure!(parts.status == wanted, "{}: {}", parts.status, String::from_utf8_lossy(&body));
        Ok(body)
    }
}

/// The routes of the query side. Reads of `/rest` are counted on their way to the
/// store, so that only the view is cached.
fn reads(store: &Arc<dyn Store>) -> Result<utoipa_axum::router::OpenApiRouter> {
    let view = ViewDef {
        path: VIEW.to_owned(),
        dataset: "air".parse()?,
        columns: None,
        filter: None,
        params: Vec::new(),
        order: Some("TimeInstant.asc".to_owned()),
        shape: Shape::Grouped { by: "id_entity".to_owned() },
        limit: None,
        freshness: Freshness::Strict,
        ttl: Duration::from_secs(3_600),
        read: Read::Public(scope::Clients::All),
    };
    let options = orderwire_query::Options {
        cache_rest: false,
        clock: orderwire_query::Clock::from_fn(inputs::now),
        ..orderwire_query::Options::default()
    };
    let cache = Arc::new(MemoryCache::new(64 << 20));
    orderwire_query::router(options, vec![view], store.clone(), cache).map_err(|faults| anyhow!("{faults:?}"))
}
