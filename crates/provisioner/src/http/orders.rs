//! Orders: asked for, looked at, cancelled, planned.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use orderwire_api::extract::{Document, Params, Segments};
use orderwire_api::problem::shown;
use orderwire_api::wire::{List, NewOrder, OrderAccepted, OrderInfo, OrderPlan, OrderStep};
use orderwire_api::{Caller, Problem, ReadProblems, WriteProblems, page};
use orderwire_store::orders::{Order, OrderFilter};
use orderwire_types::{EventId, OrderState, Scope, TraceId};
use serde::Deserialize;
use uuid::Uuid;

use super::problems::{invalid, of_accept};
use super::{PageParams, Shared, asked, show};

#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct OrderParams {
    /// Of this trace, in any of its spellings.
    trace_id: Option<String>,
    /// In this state.
    state: Option<String>,
    /// Of this product, by name or alias.
    product: Option<String>,
    /// Of this environment, by name or alias.
    environment: Option<String>,
    /// Of the release with this id.
    release: Option<String>,
    /// The cursor that the page before gave.
    after: Option<String>,
    /// At most this many (100, at most 1000).
    limit: Option<usize>,
}

/// Orders that a product is created, updated or removed.
///
/// Answered with 202 once the order is recorded; `status_url` says how far it is.
#[utoipa::path(post, path = "/v1/orders", tag = "orders", request_body = NewOrder, params(
    ("idempotency-key" = Option<String>, Header, description = "the same key with the same body is one order"),
    ("orderwire-client" = Option<String>, Header, description = "the client of an order that names none"),
    ("traceparent" = Option<String>, Header, description = "the W3C trace of an order that names none")),
    responses((status = 202, description = "the order is recorded", body = OrderAccepted,
        headers(("location" = String, description = "the order"))), WriteProblems))]
pub(super) async fn post_order(
    State(state): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Document(body): Document<NewOrder>,
) -> Result<Response, Problem> {
    asked::may_order(&caller)?;
    let names_trace = body.trace_id.is_some();
    let request = asked::of_body(&state, &caller, &headers, body, "POST /v1/orders")?;
    asked::accept(&state, request, names_trace).await
}

/// What an order would create, change and remove, and what policy refuses.
///
/// Nothing is recorded and nothing touched.
#[utoipa::path(post, path = "/v1/orders/plan", tag = "orders", request_body = NewOrder, params(
    ("orderwire-client" = Option<String>, Header, description = "the client of an order that names none")),
    responses((status = 200, description = "the plan", body = OrderPlan), WriteProblems))]
pub(super) async fn post_plan(
    State(state): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Document(body): Document<NewOrder>,
) -> Result<Json<OrderPlan>, Problem> {
    asked::may_order(&caller)?;
    let request = asked::of_body(&state, &caller, &headers, body, "POST /v1/orders/plan")?;
    state.provisioner.plan(request).await.map(Json).map_err(of_accept)
}

/// Orders, newest first.
#[utoipa::path(get, path = "/v1/orders", tag = "orders", params(OrderParams,
    ("orderwire-client" = Option<String>, Header, description = "orders of this client only")),
    responses((status = 200, description = "a page", body = List<OrderInfo>), ReadProblems))]
pub(super) async fn list_orders(
    State(state): State<Shared>,
    caller: Caller,
    Params(params): Params<OrderParams>,
    headers: HeaderMap,
) -> Result<Json<List<OrderInfo>>, Problem> {
    asked::may_look(&caller)?;
    let scope = caller.narrowed(&headers)?;
    let names = &state.provisioner.parts.names;
    let of_query = |what: &str| invalid("", format!("the query of the URL: {what}"));
    let wanted =
        params.state.map(|word| word.parse::<OrderState>().map_err(|err| of_query(&format!("state {err}"))));
    let release = params.release.map(|id| Uuid::parse_str(&id).map_err(|_| of_query("release is no id")));
    let environment = params.environment.map(|given| match names.environment(Some(&given)) {
        Some(name) => Ok(name.to_owned()),
        None => Err(of_query(&format!("environment {} is not known", shown(&given)))),
    });
    let filter = OrderFilter {
        trace: params.trace_id.map(|given| TraceId::from_given(&given).id),
        release: release.transpose()?,
        state: wanted.transpose()?,
        product: params.product.map(|given| names.product(&given)),
        environment: environment.transpose()?,
    };
    let (after, size) = (page::cursor::<EventId>(params.after)?, page::size(params.limit));
    // One more than asked for says whether there is a next page.
    let orders = state.store().orders(&scope, &filter, after, size + 1).await;
    let mut orders = orders.map_err(Problem::of_store)?;
    let next = page::cut(&mut orders, size, |order| order.id);
    Ok(Json(List { items: orders.into_iter().map(show::order).collect(), next }))
}

/// One order and how far it is.
#[utoipa::path(get, path = "/v1/orders/{order_id}", tag = "orders",
    params(("order_id" = String, Path, description = "its id")),
    responses((status = 200, description = "the order", body = OrderInfo), ReadProblems))]
pub(super) async fn get_order(
    State(state): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<Json<OrderInfo>, Problem> {
    asked::may_look(&caller)?;
    let scope = caller.narrowed(&headers)?;
    find(&state, &scope, &id).await.map(|order| Json(show::order(order)))
}

/// The steps of the work on an order, oldest first.
#[utoipa::path(get, path = "/v1/orders/{order_id}/steps", tag = "orders",
    params(("order_id" = String, Path, description = "its id"), PageParams),
    responses((status = 200, description = "a page", body = List<OrderStep>), ReadProblems))]
pub(super) async fn get_steps(
    State(state): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    Params(params): Params<PageParams>,
    headers: HeaderMap,
) -> Result<Json<List<OrderStep>>, Problem> {
    asked::may_look(&caller)?;
    let scope = caller.narrowed(&headers)?;
    let (after, size) = (page::cursor::<u64>(params.after)?.unwrap_or(0), page::size(params.limit));
    let order = find(&state, &scope, &id).await?;
    let steps = state.store().journal(&scope, order.id, after, size + 1).await;
    let mut steps = steps.map_err(Problem::of_store)?;
    let next = page::cut(&mut steps, size, |step| step.n);
    Ok(Json(List { items: steps.into_iter().map(show::step).collect(), next }))
}

/// Cancels an order that is not finished: the last ready revision is restored.
#[utoipa::path(post, path = "/v1/orders/{order_id}/cancel", tag = "orders",
    params(("order_id" = String, Path, description = "its id")),
    responses((status = 202, description = "it will be cancelled, or is", body = OrderInfo), WriteProblems))]
pub(super) async fn post_cancel(
    State(state): State<Shared>,
    caller: Caller,
    Segments(id): Segments<String>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<OrderInfo>), Problem> {
    asked::may_order(&caller)?;
    let scope = caller.narrowed(&headers)?;
    let id = id.parse::<EventId>().map_err(|_| missing(&id))?;
    let now = state.provisioner.parts.clock.now();
    let order = state.store().cancel(&scope, id, now).await.map_err(|err| match err.kind() {
        orderwire_store::ErrorKind::Conflict => {
            Problem::new(StatusCode::CONFLICT, "order-finished", err.to_string())
        }
        orderwire_store::ErrorKind::NotFound => missing(&id.to_string()),
        _ => Problem::of_store(err),
    })?;
    Ok((StatusCode::ACCEPTED, Json(show::order(order))))
}

/// The order of this id, within the scope.
pub(super) async fn find(state: &super::State, scope: &Scope, id: &str) -> Result<Order, Problem> {
    let missing = || missing(id);
    let id = id.parse::<EventId>().map_err(|_| missing())?;
    let order = state.store().order(scope, id).await.map_err(Problem::of_store)?;
    order.ok_or_else(missing)
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("order {} does not exist", shown(id)))
}
