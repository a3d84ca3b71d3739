//! The routes.

mod answer;
mod headers;
mod load;
mod readback;
mod rest;
mod root;
mod table;
mod view;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use axum::http::HeaderValue;
use axum::http::header::ALLOW;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use orderwire_cache::Cache;
use orderwire_store::Datasets;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, Required, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::cached::{Cached, Source};
use crate::error::{Error, ErrorKind};
use crate::options::Options;
use crate::view::{Read, View, ViewDef};

pub(crate) use answer::Policy;
pub use answer::is_answer;
pub use readback::{Expected, Readback};

/// What every route shares.
pub(crate) struct Service {
    pub(crate) store: Arc<dyn Datasets>,
    pub(crate) cached: Cached,
    pub(crate) options: Options,
}

/// The routes of `/rest/{dataset}` and of these views. The routes that need a
/// key need an `Extension<Arc<dyn Authenticator>>` around them.
///
/// # Errors
/// Every fault of the views: a path that is reserved, taken or not valid, a
/// filter or an order that cannot be read.
pub fn router(
    options: Options,
    views: Vec<ViewDef>,
    store: Arc<dyn Datasets>,
    cache: Arc<dyn Cache>,
) -> Result<OpenApiRouter, Vec<Error>> {
    describe_metrics();
    let mut faults = Vec::new();
    let mut paths = HashSet::new();
    let mut compiled = Vec::new();
    for def in views {
        if !paths.insert(def.path.clone()) {
            faults.push(view_fault(&def.path, "another view has this path"));
        }
        match View::new(def, &options) {
            Ok(view) => compiled.push(Arc::new(view)),
            Err(fault) => faults.push(fault),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let cached = Cached::new(cache, &options);
    let service = Arc::new(Service { store, cached, options });
    let (schemas, rest_paths, methods) = routes!(rest::read);
    let mut router: OpenApiRouter<Arc<Service>> = OpenApiRouter::new().routes((
        schemas,
        rest_paths,
        methods.patch(never_changed).put(never_changed).delete(never_changed),
    ));
    router = router.routes(routes!(root::describe)).route(orderwire_api::rest::ROOT, get(root::describe));
    for view in compiled {
        let path = view.def.path.clone();
        router.get_openapi_mut().paths.paths.insert(path.clone(), described(&view));
        let serve = {
            let view = view.clone();
            move |state, request| view::read(view.clone(), state, request)
        };
        router = router.route(&path, get(serve).fallback(not_allowed));
    }
    Ok(router.with_state(service))
}

pub(crate) fn view_fault(path: &str, detail: &str) -> Error {
    Error::new(ErrorKind::Invalid, "PGRST100", format!("view {path}: {detail}"))
}

/// What a view is not called with.
async fn not_allowed() -> Error {
    Error::new(ErrorKind::Method, "PGRST117", "only GET and HEAD are served here")
        .hint("rows are written by POST /rest/{dataset} or POST /v1/datasets/{dataset}/rows")
}

/// What a dataset is not called with: rows are recorded, and neither changed nor taken away.
async fn never_changed() -> Response {
    let error = Error::new(
        ErrorKind::Method,
        "PGRST117",
        "rows are added and replaced by their key, not changed or deleted",
    )
    .hint("POST replaces the row that has the key, where the dataset says on_conflict: update");
    let mut response = error.into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
    response
}

fn described(view: &View) -> PathItem {
    let json = ContentBuilder::new().build();
    let answer = ResponseBuilder::new()
        .description("the rows, and whether they come from the cache")
        .content("application/json", json)
        .build();
    let mut operation = OperationBuilder::new()
        .summary(Some(format!("A view of dataset {}", view.def.dataset)))
        .description(Some(
            "Takes conditions on its columns as /rest does (column=operator.value), limit and offset.",
        ))
        .tag("views")
        .response("200", answer)
        .response(
            "304",
            ResponseBuilder::new().description("the caller has this answer (If-None-Match)").build(),
        );
    for param in &view.def.params {
        let described = ParameterBuilder::new()
            .name(&param.name)
            .parameter_in(ParameterIn::Query)
            .required(if param.required && param.default.is_none() {
                Required::True
            } else {
                Required::False
            })
            .description(Some(
                param.description.clone().unwrap_or_else(|| format!("a {}", param.of.as_str())),
            ))
            .build();
        operation = operation.parameter(described);
    }
    // Said in both cases: a document as a whole may name a key for every route.
    operation = match view.def.read {
        Read::Key => ["bearer", "api_key"].into_iter().fold(operation, |operation, scheme| {
            operation.security(SecurityRequirement::new::<_, [&str; 0], &str>(scheme, []))
        }),
        Read::Public(_) => operation.security(SecurityRequirement::default()),
    };
    PathItem::new(HttpMethod::Get, operation.build())
}

/// Ends a read: one count and one time per answer.
fn finish(kind: &'static str, began: Instant, outcome: Result<(Response, Source), Error>) -> Response {
    let (response, name) = match outcome {
        Ok((response, source)) => (response, source.name()),
        Err(error) => {
            let name = match error.kind() {
                ErrorKind::Unavailable | ErrorKind::Internal | ErrorKind::TooCostly => "failed",
                _ => "refused",
            };
            (error.into_response(), name)
        }
    };
    metrics::counter!("orderwire_query_reads_total", "kind" => kind, "outcome" => name).increment(1);
    metrics::histogram!("orderwire_query_seconds", "kind" => kind, "outcome" => name)
        .record(began.elapsed().as_secs_f64());
    response
}

fn describe_metrics() {
    metrics::describe_counter!(
        "orderwire_query_reads_total",
        "reads by kind (rest, view) and outcome (hit, stale, miss, collapsed, bypass, refused, failed)"
    );
    metrics::describe_histogram!(
        "orderwire_query_seconds",
        metrics::Unit::Seconds,
        "time until the answer is ready, by kind and outcome"
    );
    metrics::describe_counter!(
        "orderwire_query_cache_errors_total",
        "calls of the cache that failed, by operation; the store answered instead"
    );
}
