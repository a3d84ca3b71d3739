//! The routes of the whole server, and its description.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use orderwire_api::{Caller, Problem};
use orderwire_cache::Cache;
use orderwire_forwarder::Forwarder;
use orderwire_gateway::{Gateway, Guards, guarded};
use orderwire_provisioner::Provisioner;
use orderwire_query::ViewDef;
use orderwire_telemetry::Metrics;
use orderwire_types::Right;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::{InfoBuilder, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::convert;
use crate::error::{Error, While as _};
use crate::readback;

/// How long a request may take beside a long poll's wait.
const TIME_BESIDE_WAITING: Duration = Duration::from_secs(60);

/// What the routes work on.
pub(crate) struct Parts {
    pub(crate) views: Vec<ViewDef>,
    pub(crate) gateway: Gateway,
    pub(crate) cache: Arc<dyn Cache>,
    pub(crate) provisioner: Provisioner,
    pub(crate) forwarder: Forwarder,
    /// Ends what would go on for as long as nothing happens.
    pub(crate) closing: CancellationToken,
    pub(crate) metrics: Metrics,
}

/// Everything that the server answers.
pub(crate) fn router(parts: Parts) -> Result<Router, Error> {
    let Parts { views, gateway, cache, provisioner, forwarder, closing, metrics } = parts;
    let (limits, keys) = (gateway.limits.clone(), gateway.keys.clone());
    let options = convert::query_options(&limits);
    let readback = orderwire_query::Readback::new(options.clone(), gateway.store.clone(), cache.clone());
    let query = orderwire_query::router(options, views, gateway.store.clone(), cache)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        .while_("serving the views")?;
    let orders = orderwire_provisioner::router(provisioner, &limits, closing);
    let gateway = orderwire_gateway::router(gateway, Some(Arc::new(readback::Recorded(readback))));
    let forwards = orderwire_forwarder::router(forwarder);
    let own = Arc::new(Own { metrics, api: OnceLock::new() });
    let routes = OpenApiRouter::new()
        .routes(routes!(get_metrics))
        .routes(routes!(get_openapi))
        .with_state(own.clone());
    let (router, api) = gateway.merge(orders).merge(forwards).merge(query).merge(routes).split_for_parts();
    let api = description(api).to_pretty_json().while_("describing the routes")?;
    own.api.set(api.into()).expect("set once, here");
    let guards = Guards {
        authenticator: keys,
        concurrent_requests: limits.concurrent_requests,
        time_out: Duration::from_millis(limits.wait_ms_max) + TIME_BESIDE_WAITING,
    };
    Ok(guarded(router, guards))
}

/// What the routes of this module work on.
struct Own {
    metrics: Metrics,
    /// Set once all routes are known, these among them.
    api: OnceLock<Bytes>,
}

/// The figures of this process in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "the figures", body = String, content_type = "text/plain"),
        (status = 401, description = "no key, or one that is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "the key may not read", body = Problem, content_type = "application/problem+json")))]
async fn get_metrics(State(own): State<Arc<Own>>, caller: Caller) -> Result<Response, Problem> {
    caller.require(Right::Read)?;
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    Ok((content_type, own.metrics.render()).into_response())
}

/// This description, with the views of the configuration.
#[utoipa::path(get, path = "/openapi.json", tag = "operation",
    responses((status = 200, description = "an OpenAPI 3.1 document", body = Object),
        (status = 401, description = "no key, or one that is not valid", body = Problem, content_type = "application/problem+json")))]
async fn get_openapi(State(own): State<Arc<Own>>, _: Caller) -> Response {
    let api = own.api.get().expect("set before the routes are served").clone();
    ([(header::CONTENT_TYPE, "application/json")], api).into_response()
}

/// What the routes say of themselves, with what is true of all of them.
fn description(mut routes: OpenApi) -> OpenApi {
    routes.info = InfoBuilder::new()
        .title("Orderwire")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Events and orders in, running products, typed tables and cached views out. Errors are RFC 9457 problems. Show a key as \
             `Authorization: Bearer KEY` or as `X-API-Key: KEY`.",
        ))
        .build();
    routes
}
