//! The routes of the whole server, and its description.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use orderwire_api::Caller;
use orderwire_cache::Cache;
use orderwire_config::Config;
use orderwire_gateway::{Gateway, Guards, KeyRing, guarded};
use orderwire_queue::{Clock, Queues};
use orderwire_store::Store;
use orderwire_telemetry::Metrics;
use orderwire_types::{Limits, Right};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder};

use crate::convert;
use crate::error::Error;
use crate::ready;

/// How long a request may take beside a long poll's wait.
const TIME_BESIDE_WAITING: Duration = Duration::from_secs(60);

/// What the routes work on.
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a Config,
    pub(crate) limits: Limits,
    pub(crate) queues: Queues,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) cache: Arc<dyn Cache>,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
}

/// Everything that the server answers.
pub(crate) fn router(parts: Parts<'_>) -> Result<Router, Error> {
    let Parts { config, limits, queues, store, cache, keys, metrics, clock } = parts;
    let views = convert::views(config, &limits);
    let query = orderwire_query::router(convert::query_options(&limits), views, store.clone(), cache)
        .map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            Error::failed(format!("the configuration has faults:\n{}", lines.join("\n")))
        })?;
    let readiness = Arc::new(ready::Parts { queues: queues.clone(), store: store.clone() });
    let gateway = orderwire_gateway::router(Gateway {
        queues,
        store,
        keys: keys.clone(),
        readiness,
        clock,
        limits: limits.clone(),
    });
    let (router, api) = gateway.merge(query).split_for_parts();
    let api: Arc<str> = description(api).to_pretty_json().map_err(|e| Error::failed(e.to_string()))?.into();
    let router =
        router
            .route(
                "/metrics",
                get(move |caller: Caller| async move {
                    caller.require(Right::Read)?;
                    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
                    Ok::<_, orderwire_api::Problem>((content_type, metrics.render()).into_response())
                }),
            )
            .route(
                "/openapi.json",
                get(move |_: Caller| async move {
                    ([(header::CONTENT_TYPE, "application/json")], api.to_string())
                }),
            );
    let guards = Guards {
        authenticator: keys,
        concurrent_requests: limits.concurrent_requests,
        time_out: Duration::from_millis(limits.wait_ms_max) + TIME_BESIDE_WAITING,
    };
    Ok(guarded(router, guards))
}

/// What the routes say of themselves, with what is true of all of them.
fn description(routes: OpenApi) -> OpenApi {
    let info = InfoBuilder::new()
        .title("Orderwire")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Events in, typed tables and cached views out. Errors are RFC 9457 problems."))
        .build();
    let key = SecurityScheme::Http(
        HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A key, as Authorization: Bearer KEY or X-API-Key: KEY"))
            .build(),
    );
    let components = ComponentsBuilder::new().security_scheme("key", key).build();
    let mut whole = OpenApiBuilder::new().info(info).components(Some(components)).build();
    whole.merge(routes);
    whole
}
