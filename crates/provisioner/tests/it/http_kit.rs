//! The routes over the real store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::{Extension, Router};
use http_body_util::BodyExt;
use orderwire_api::{Authenticator, Problem};
use orderwire_provisioner::router;
use orderwire_store::Orders as _;
use orderwire_store::orders::{Advance, Lease, Release, Revision};
use orderwire_types::scope::Clients;
use orderwire_types::{EventId, Limits, OrderState, RawJson, ReleaseState, Right, Scope};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::accept_kit::{Kit, kit, scope, start};

/// Keys by their text.
pub(crate) struct Known(Mutex<BTreeMap<&'static str, Arc<Scope>>>);

#[async_trait]
impl Authenticator for Known {
    async fn authenticate(&self, key: &str) -> Result<Arc<Scope>, Problem> {
        self.0.lock().unwrap().get(key).cloned().ok_or_else(|| Problem::unauthorized("this key is unknown"))
    }
}

pub(crate) struct Server {
    pub(crate) kit: Kit,
    pub(crate) app: Router,
    pub(crate) closing: CancellationToken,
    keys: Arc<Known>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Asserts a problem of this status and slug and returns its pointer and detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, slug: &str) -> (String, String) {
        let problem = self.ok(status);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(problem["type"], format!("https://orderwire.dev/problems/{slug}"), "{problem}");
        let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        (text("pointer"), text("detail"))
    }
}

fn key(name: &'static str, rights: &[Right], clients: &[&str]) -> (&'static str, Arc<Scope>) {
    let clients = match clients {
        [] => Clients::All,
        some => Clients::Only(some.iter().map(|client| client.parse().unwrap()).collect()),
    };
    let rights = rights.iter().copied().collect();
    let objects = (name == "module").then(|| ["dataset/air".to_owned()].into());
    (name, Arc::new(Scope { principal: format!("key:{name}").into(), clients, rights, objects }))
}

impl Server {
    pub(crate) fn start() -> Self {
        let kit = kit();
        let closing = CancellationToken::new();
        let limits = Limits { event_bytes: 16 << 10, ..Limits::default() };
        let keys = Arc::new(Known(Mutex::new(BTreeMap::from([
            key("admin", &[Right::Admin], &[]),
            key("acme", &[Right::Order], &["acme"]),
            key("other", &[Right::Order, Right::Read], &["other"]),
            key("two", &[Right::Order], &["acme", "other"]),
            key("reader", &[Right::Read], &["acme"]),
            key("writer", &[Right::Write], &["acme"]),
            key("module", &[Right::Read, Right::Write], &["acme"]),
        ]))));
        let known: Arc<dyn Authenticator> = keys.clone();
        let (routes, _) = router(kit.provisioner.clone(), &limits, closing.clone()).split_for_parts();
        Self { kit, app: routes.layer(Extension(known)), closing, keys }
    }

    pub(crate) fn revoke(&self, key: &str) {
        self.keys.0.lock().unwrap().remove(key);
    }

    pub(crate) async fn call(
        &self,
        key: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("x-api-key", key);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.app.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, key: &str, path: &str) -> Answer {
        self.call(key, "GET", path, &[], Body::empty()).await
    }

    pub(crate) async fn post(&self, key: &str, path: &str, body: &Value) -> Answer {
        self.call(key, "POST", path, &[], body.to_string()).await
    }

    /// Orders a sensor for `acme`; the id of the order.
    pub(crate) async fn sensor(&self) -> String {
        let made = self.post("admin", "/v1/orders", &json!({"client": "acme", "product": "sensor"})).await;
        made.ok(202)["order_id"].as_str().unwrap().to_owned()
    }

    /// The release of an order.
    pub(crate) async fn release_of(&self, order: &str) -> Release {
        let order = self.kit.order(order.parse().unwrap()).await;
        self.kit.release(&order).await
    }

    /// Claims what is due.
    pub(crate) async fn claim(&self) -> Lease {
        let until = start() + std::time::Duration::from_secs(3_600);
        self.kit.store.claim("local", 1, start(), until).await.unwrap().remove(0).lease
    }

    pub(crate) async fn advance(&self, lease: Lease, order: &str, advance: Advance) {
        let order: EventId = order.parse().unwrap();
        let advance = Advance { at: start(), ..advance };
        self.kit.store.advance(lease, order, advance).await.unwrap();
    }

    /// Does what the reconciler does with an order that succeeds: a revision with this
    /// content.
    pub(crate) async fn makes_ready(&self, order: &str, content: &Value) -> u64 {
        let lease = self.claim().await;
        let release = self.release_of(order).await;
        let number = release.revisions + 1;
        let stored = self.kit.order(order.parse().unwrap()).await;
        let revision = Revision {
            number,
            hash: format!("{number:064x}"),
            content: RawJson::of(content).unwrap(),
            order: stored.id,
            trace: stored.trace,
            created_at: start(),
            ready_at: None,
        };
        let planned =
            Advance { new_revision: Some(revision), revision: Some(number), ..state(OrderState::Planned) };
        self.advance(lease, order, planned).await;
        let mut status = release.status.clone();
        (status.state, status.ready, status.applied) = (ReleaseState::Ready, Some(number), Some(number));
        let ready = Advance { became_ready: Some(number), status: Some(status), ..state(OrderState::Ready) };
        self.advance(lease, order, ready).await;
        self.kit.store.hand_back(lease, None).await.unwrap();
        number
    }

    pub(crate) async fn stored(&self) -> usize {
        self.kit.store.orders(&scope(), &Default::default(), None, 100).await.unwrap().len()
    }
}

/// An advance to this state.
pub(crate) fn state(state: OrderState) -> Advance {
    Advance { state: Some((state, None)), ..Advance::default() }
}

/// One entry of the journal.
pub(crate) fn journal(step: &str, outcome: &str) -> Advance {
    Advance { journal: vec![(step.to_owned(), outcome.to_owned(), None)], ..Advance::default() }
}
