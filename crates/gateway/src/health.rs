//! Whether the server lives, and whether it is ready.

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use orderwire_api::Authenticator;
use orderwire_api::auth::shown_key;
use serde::Serialize;
use utoipa::ToSchema;

use crate::state::Shared;

/// One part that a ready server needs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Component {
    /// Its name: `queue`, `store`, a role.
    pub name: String,
    /// Whether it works.
    pub ok: bool,
    /// What is wrong, or anything worth knowing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Knows what a ready server needs.
#[async_trait]
pub trait Readiness: Send + Sync + 'static {
    /// Every part, looked at now and in a bounded time.
    async fn components(&self) -> Vec<Component>;
}

/// The health of the server.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, `ready` or `not ready`.
    status: &'static str,
    /// The parts; only for callers with a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    components: Option<Vec<Component>>,
}

/// Whether the process answers at all. Needs no key.
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()),
    responses((status = 200, description = "the process answers", body = Health)))]
pub(crate) async fn get_healthz() -> Json<Health> {
    Json(Health { status: "ok", components: None })
}

/// Whether every part works; the parts themselves only with a key.
#[utoipa::path(get, path = "/readyz", tag = "operation", security((), ("bearer" = []), ("api_key" = [])),
    responses((status = 200, description = "every part works", body = Health),
        (status = 503, description = "a part does not work", body = Health)))]
pub(crate) async fn get_readyz(
    State(state): State<Shared>,
    headers: HeaderMap,
) -> (StatusCode, Json<Health>) {
    let components = state.gateway.readiness.components().await;
    let ready = components.iter().all(|component| component.ok);
    let known = match shown_key(&headers) {
        Some(key) => state.gateway.keys.authenticate(key).await.is_ok(),
        None => false,
    };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let health =
        Health { status: if ready { "ready" } else { "not ready" }, components: known.then_some(components) };
    (status, Json(health))
}
