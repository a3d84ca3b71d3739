//! What stands around every route of a server.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use futures::FutureExt;
use orderwire_api::problem::shown;
use orderwire_api::{Authenticator, Problem};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// The guards of a server.
pub struct Guards {
    /// Who knows the keys.
    pub authenticator: Arc<dyn Authenticator>,
    /// The most requests that are handled at once; beyond it a call is 503.
    /// Leases may wait long and have as many places of their own, so that idle
    /// consumers do not keep others out.
    pub concurrent_requests: usize,
    /// The longest time until an answer begins. Has to be longer than the
    /// longest wait of a long poll.
    pub time_out: Duration,
}

/// Routes that must answer under any load: they say whether the process lives.
const ALWAYS: [&str; 2] = ["/healthz", "/readyz"];
/// The route whose calls wait for as long as nothing comes.
const WAITS: &str = "/v1/queues/{queue}/lease";

#[derive(Clone)]
struct Guard {
    permits: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    time_out: Duration,
}

/// Puts the guards around the routes of a whole server: installs the
/// authenticator, sheds load, ends what takes too long, turns panics into 500,
/// counts, and answers problems where no route or method fits.
pub fn guarded(router: Router, guards: Guards) -> Router {
    let places = || Arc::new(Semaphore::new(guards.concurrent_requests));
    let guard = Guard { permits: places(), waiting: places(), time_out: guards.time_out };
    router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(Extension(guards.authenticator))
        .layer(from_fn_with_state(guard, guarded_call))
}

async fn guarded_call(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let places = if route == WAITS { guard.waiting } else { guard.permits };
    let response = match places.try_acquire_owned() {
        Err(_) if !ALWAYS.contains(&route) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "too many requests are being handled; try again later",
        )
        .retry_after(1)
        .into_response(),
        permit => {
            let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
            let answer = tokio::time::timeout(guard.time_out, answer).await;
            drop(permit);
            match answer {
                Ok(Ok(response)) => response,
                Ok(Err(panic)) => panicked(panic.as_ref(), route),
                Err(_) => Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "timed-out",
                    "the call took too long; whether it took effect is unknown",
                )
                .retry_after(1)
                .into_response(),
            }
        }
    };
    let status = class(response.status());
    metrics::counter!("orderwire_http_requests_total", "method" => method, "route" => route.to_owned(), "status" => status)
        .increment(1);
    metrics::histogram!("orderwire_http_request_seconds", "method" => method, "route" => route.to_owned())
        .record(begin.elapsed().as_secs_f64());
    response
}

fn panicked(panic: &(dyn Any + Send), route: &str) -> Response {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("not a text");
    tracing::error!(http.route = route, panic = message, "a handler panicked");
    Problem::internal("a fault of the server; its log says more").into_response()
}

async fn no_route(request: Request) -> Problem {
    Problem::not_found(format!("nothing is at {}; see /openapi.json", shown(request.uri().path())))
}

async fn no_method(request: Request) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        format!(
            "{} is not for {}; the header Allow says what is",
            method_label(request.method()),
            shown(request.uri().path())
        ),
    )
}

/// Methods may be any word, labels must be few.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}
