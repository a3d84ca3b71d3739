//! What stands around every route of a server.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use futures::FutureExt;
use orderwire_api::problem::shown;
use orderwire_api::{Authenticator, Problem, rest};
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
    figures: Arc<Figures>,
}

/// Puts the guards around the routes of a whole server: installs the
/// authenticator, sheds load, ends what takes too long, turns panics into 500,
/// counts, and answers problems where no route or method fits.
pub fn guarded(router: Router, guards: Guards) -> Router {
    let places = || Arc::new(Semaphore::new(guards.concurrent_requests));
    let guard =
        Guard { permits: places(), waiting: places(), time_out: guards.time_out, figures: Arc::default() };
    router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(Extension(guards.authenticator))
        .layer(from_fn_with_state(guard, guarded_call))
}

async fn guarded_call(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let method = method_label(request.method());
    let in_rest = rest::is_spoken(request.uri().path());
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
    guard.figures.count(method, route, response.status(), begin.elapsed());
    if in_rest { rest::told(response) } else { response }
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

/// The figures of calls, by route and method: looked up in the registry once each,
/// because a look-up there costs as much as the rest of a small call.
#[derive(Default)]
struct Figures(RwLock<HashMap<String, HashMap<&'static str, Arc<Calls>>>>);

/// Calls of one route and method.
struct Calls {
    seconds: metrics::Histogram,
    /// By the first digit of their status, from 1.
    total: [metrics::Counter; 5],
}

impl Figures {
    fn count(&self, method: &'static str, route: &str, status: StatusCode, took: Duration) {
        let calls = self.of(method, route);
        calls.seconds.record(took.as_secs_f64());
        let class = usize::from(status.as_u16() / 100).clamp(1, 5);
        calls.total[class - 1].increment(1);
    }

    fn of(&self, method: &'static str, route: &str) -> Arc<Calls> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(calls) = known.get(route).and_then(|methods| methods.get(method)) {
            return Arc::clone(calls);
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let methods = known.entry(route.to_owned()).or_default();
        Arc::clone(methods.entry(method).or_insert_with(|| Arc::new(Calls::of(method, route))))
    }
}

impl Calls {
    fn of(method: &'static str, route: &str) -> Self {
        let total = |status| metrics::counter!("orderwire_http_requests_total", "method" => method, "route" => route.to_owned(), "status" => status);
        Self {
            seconds: metrics::histogram!("orderwire_http_request_seconds", "method" => method, "route" => route.to_owned()),
            total: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(total),
        }
    }
}
