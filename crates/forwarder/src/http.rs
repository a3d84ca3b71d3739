//! `/v1/forwards`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use orderwire_api::extract::{Params, Segments};
use orderwire_api::problem::shown;
use orderwire_api::wire::{ForwardDelivery, ForwardInfo, ForwardTested, List};
use orderwire_api::{Caller, Problem, ReadProblems, page};
use orderwire_queue as queue;
use orderwire_store::log::{AttemptFilter, AttemptOutcome, LoggedAttempt};
use orderwire_types::scope::Clients;
use orderwire_types::{Client, Data, Event, EventId, Fault, Origin, RawJson, Right, Scope, TraceId};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::breaker::Position;
use crate::forwarder::{Forward, Forwarder};
use crate::service::ROLE;

/// How many sample events are posted at once.
const TESTS_MAX: usize = 8;
/// The type of sample events.
const TEST_TYPE: &str = "orderwire.forward.test";
/// Who says so.
const SOURCE: &str = "/orderwire/forwarder";

struct Shared {
    forwarder: Forwarder,
    tests: Semaphore,
}

/// The routes with their description. They need an `Extension<Arc<dyn Authenticator>>`
/// around them.
pub fn router(forwarder: Forwarder) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list_forwards))
        .routes(routes!(list_deliveries))
        .routes(routes!(post_test))
        .with_state(Arc::new(Shared { forwarder, tests: Semaphore::new(TESTS_MAX) }))
}

/// Every endpoint that gets events, by name. Their figures are of all clients, so that
/// they need a key for all clients.
#[utoipa::path(get, path = "/v1/forwards", tag = "forwards",
    responses((status = 200, description = "the endpoints", body = List<ForwardInfo>), ReadProblems))]
async fn list_forwards(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
) -> Result<Json<List<ForwardInfo>>, Problem> {
    may_look(&caller)?;
    if caller.scope.clients != Clients::All {
        return Err(Problem::forbidden(
            "the figures of an endpoint are of all clients; they need a key for all clients",
        ));
    }
    let mut items = Vec::new();
    for forward in shared.forwarder.inner.forwards.values() {
        if touches(&caller.scope, forward) {
            items.push(info(&shared.forwarder, forward).await?);
        }
    }
    Ok(Json(List { items, next: None }))
}

#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct DeliveryParams {
    /// At events of this client.
    client: Option<String>,
    /// At this event.
    event_id: Option<String>,
    /// With this outcome: `delivered`, `retry` or `failed`.
    outcome: Option<String>,
    /// The cursor that the page before gave.
    after: Option<String>,
    /// At most this many (100, at most 1000).
    limit: Option<usize>,
}

/// What was tried at an endpoint, newest first.
///
/// Written a moment later, so that the last attempts before a crash may be missing. What
/// is kept is bounded by `retention.forwards` and by the endpoint's `log`.
#[utoipa::path(get, path = "/v1/forwards/{name}/deliveries", tag = "forwards",
    params(("name" = String, Path, description = "the endpoint"), DeliveryParams),
    responses((status = 200, description = "a page", body = List<ForwardDelivery>), ReadProblems))]
async fn list_deliveries(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Segments(name): Segments<String>,
    Params(params): Params<DeliveryParams>,
    headers: HeaderMap,
) -> Result<Json<List<ForwardDelivery>>, Problem> {
    may_look(&caller)?;
    let DeliveryParams { client, event_id, outcome, after, limit } = params;
    let filter = AttemptFilter {
        client: client
            .map(|text| text.parse::<Client>().map_err(|err| of_query(&format!("client: {err}"))))
            .transpose()?,
        event_id: event_id
            .map(|text| text.parse::<EventId>().map_err(|_| of_query("event_id is no id of an event")))
            .transpose()?,
        outcome: outcome
            .map(|word| {
                AttemptOutcome::of(&word)
                    .ok_or_else(|| of_query("outcome is none of delivered, retry, failed"))
            })
            .transpose()?,
    };
    let scope = caller.narrowed(&headers)?;
    let forward = find(&shared, &caller.scope, &name)?;
    let (before, size) = (page::cursor::<u64>(after)?, page::size(limit));
    let store = &shared.forwarder.inner.store;
    // One more than asked for says whether there is a next page.
    let found = store.attempts(&scope, forward.endpoint.name(), &filter, before, size + 1).await;
    let mut found = found.map_err(Problem::of_store)?;
    let next = page::cut(&mut found, size, |logged| logged.number);
    Ok(Json(List { items: found.into_iter().map(delivery).collect(), next }))
}

/// Posts a signed sample event to an endpoint, now, and says what became of it.
///
/// It goes past the queue and the breaker; a success tells the breaker that the endpoint
/// is there.
#[utoipa::path(post, path = "/v1/forwards/{name}/test", tag = "forwards",
    params(("name" = String, Path, description = "the endpoint"),
        ("orderwire-client" = Option<String>, Header, description = "the client of the sample")),
    responses((status = 200, description = "what became of it", body = ForwardTested), ReadProblems))]
async fn post_test(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Segments(name): Segments<String>,
    headers: HeaderMap,
) -> Result<Json<ForwardTested>, Problem> {
    caller.require(Right::Operate)?;
    let forward = find(&shared, &caller.scope, &name)?;
    let own = match &forward.endpoint.options.clients {
        // Where none is named, one whose events the endpoint gets.
        Clients::Only(clients) if !headers.contains_key(orderwire_api::auth::CLIENT_HEADER) => {
            clients.iter().find(|client| caller.scope.covers(client)).cloned()
        }
        _ => None,
    };
    let client = own.map_or_else(|| caller.write_client(&headers), Ok)?;
    caller.covering(&client)?;
    if let Clients::Only(clients) = &forward.endpoint.options.clients
        && !clients.contains(&client)
    {
        let detail = format!("endpoint {name} gets no events of client {client}; name one of its clients");
        return Err(Problem::forbidden(detail));
    }
    let Ok(_place) = shared.tests.try_acquire() else {
        let detail = format!("{TESTS_MAX} sample events are under way; try again in a moment");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(1));
    };
    let event = sample(&shared.forwarder, client, &caller.scope, forward)?;
    let answer = forward.post(&event, 1).await;
    if answer.outcome == AttemptOutcome::Delivered {
        forward.note(&answer);
    }
    Ok(Json(ForwardTested {
        url: forward.endpoint.shown_url(),
        event_id: event.id.to_string(),
        outcome: answer.outcome.as_str().to_owned(),
        status: answer.status.map(|status| status.as_u16()),
        error: answer.error,
        body: answer.body,
        duration_ms: answer.duration.as_secs_f64() * 1_000.0,
    }))
}

fn sample(forwarder: &Forwarder, client: Client, scope: &Scope, forward: &Forward) -> Result<Event, Problem> {
    #[derive(Serialize)]
    struct Sample<'a> {
        forward: &'a str,
        message: &'a str,
    }
    let data =
        Sample { forward: forward.endpoint.name().as_str(), message: "a sample event: nothing has happened" };
    let data = RawJson::of(&data)
        .map_err(|error| Problem::internal(format!("the sample event could not be made: {error}")))?;
    let now = forwarder.inner.clock.now();
    Ok(Event {
        id: EventId(Uuid::now_v7()),
        event_type: TEST_TYPE.parse().expect("an event type"),
        source: SOURCE.to_owned(),
        client,
        key: None,
        time: None,
        trace: TraceId::from_uuid(Uuid::now_v7()),
        attempt: None,
        cause: None,
        depth: 0,
        accepted_at: now,
        principal: scope.principal.as_ref().to_owned(),
        may_order: false,
        import: None,
        origin: Origin::Plain,
        data: Data::Json(data),
    })
}

fn may_look(caller: &Caller) -> Result<(), Problem> {
    if caller.scope.may(Right::Consume) { Ok(()) } else { caller.require(Right::Operate) }
}

fn touches(scope: &Scope, forward: &Forward) -> bool {
    scope.touches(&format!("queue/{}", forward.endpoint.options.queue))
}

/// The endpoint of this name within the scope.
fn find<'a>(shared: &'a Shared, scope: &Scope, name: &str) -> Result<&'a Arc<Forward>, Problem> {
    let forward = shared.forwarder.inner.forwards.get(name).filter(|forward| touches(scope, forward));
    forward.ok_or_else(|| Problem::not_found(format!("endpoint {} does not exist", shown(name))))
}

fn of_query(detail: &str) -> Problem {
    Fault::invalid("", format!("the query of the URL: {detail}")).into()
}

async fn info(forwarder: &Forwarder, forward: &Forward) -> Result<ForwardInfo, Problem> {
    let options = &forward.endpoint.options;
    let state = forwarder.inner.queues.state(&Scope::internal(ROLE), &options.queue).await;
    let state = state.map_err(|error| of_queue(&error))?;
    let (view, figures) = (forward.breaker.view(), forward.figures());
    let (breaker, next_try_at) = match view.position {
        Position::Closed => ("closed", None),
        Position::HalfOpen => ("half_open", None),
        Position::Open { until } => {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            ("open", forwarder.inner.clock.now().checked_add(left).ok())
        }
    };
    Ok(ForwardInfo {
        name: options.name.to_string(),
        url: forward.endpoint.shown_url(),
        types: options.types.iter().map(ToString::to_string).collect(),
        clients: match &options.clients {
            Clients::All => None,
            Clients::Only(clients) => Some(clients.iter().map(ToString::to_string).collect()),
        },
        format: options.format.as_str().to_owned(),
        queue: options.queue.to_string(),
        breaker: breaker.to_owned(),
        next_try_at: next_try_at.map(|at| at.to_string()),
        failures: view.failures,
        delivered: figures.delivered,
        failed: figures.failed,
        last_at: figures.last_at.map(|at| at.to_string()),
        last_error: figures.last_error,
        waiting: state.ready + state.in_flight + state.delayed,
        dead: state.dead,
    })
}

fn of_queue(error: &queue::Error) -> Problem {
    match error.kind() {
        queue::ErrorKind::NotFound => Problem::not_found(error.to_string()),
        queue::ErrorKind::Damaged => Problem::damaged(&error.to_string()),
        _ => {
            tracing::warn!(%error, "the queue cannot answer");
            Problem::unavailable(error.to_string())
        }
    }
}

fn delivery(logged: LoggedAttempt) -> ForwardDelivery {
    let LoggedAttempt { number, attempt } = logged;
    ForwardDelivery {
        id: number.to_string(),
        at: attempt.at.to_string(),
        event_id: attempt.event_id.to_string(),
        event_type: attempt.event_type.to_string(),
        client: attempt.client.to_string(),
        trace_id: attempt.trace.to_string(),
        attempt: attempt.attempt,
        outcome: attempt.outcome.as_str().to_owned(),
        status: attempt.status,
        detail: attempt.detail,
        duration_ms: attempt.duration.as_secs_f64() * 1_000.0,
    }
}
