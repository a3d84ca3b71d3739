//! From a call to an order: who asks, whose release, which id and trace.

use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use orderwire_api::extract::idempotency_key;
use orderwire_api::wire::{NewOrder, OrderAccepted};
use orderwire_api::{Caller, Problem};
use orderwire_store::orders::{Acceptance, Order, Refusal, Release};
use orderwire_types::envelope::parse_traceparent;
use orderwire_types::{Action, Client, EventId, ReleaseState, Right, TraceId, identity};
use uuid::Uuid;

use super::State;
use super::problems::{invalid, of_accept, of_refusal};
use crate::provisioner::OrderRequest;
use crate::request::requested_action;

/// What a key of some objects needs to touch for orders: the queue that they come by
/// as events.
const OBJECT: &str = "queue/infra";
/// The longest trace id that is no UUID.
const TRACE_MAX: usize = 256;

/// Demands the right to order.
pub(super) fn may_order(caller: &Caller) -> Result<(), Problem> {
    caller.require(Right::Order)?;
    touches(caller)
}

/// Demands the right to see orders and releases: whoever may order may see what
/// became of it.
pub(super) fn may_look(caller: &Caller) -> Result<(), Problem> {
    if !caller.scope.may(Right::Order) {
        caller.require(Right::Read)?;
    }
    touches(caller)
}

fn touches(caller: &Caller) -> Result<(), Problem> {
    if caller.scope.touches(OBJECT) {
        return Ok(());
    }
    Err(Problem::forbidden(format!("orders are outside the objects of this key; it needs {OBJECT}")))
}

/// The order that a body asks for.
///
/// # Errors
/// 403 outside the scope, 422 for what cannot be read.
pub(super) fn of_body(
    state: &State,
    caller: &Caller,
    headers: &HeaderMap,
    body: NewOrder,
    route: &str,
) -> Result<OrderRequest, Problem> {
    let client = match &body.client {
        None => caller.write_client(headers)?,
        Some(given) => given.parse::<Client>().map_err(|err| invalid("/client", err.to_string()))?,
    };
    caller.covering(&client)?;
    let action = requested_action(body.action.as_deref())?;
    let (id, trace) = named(caller, headers, route, body.trace_id.as_deref())?;
    Ok(OrderRequest {
        id,
        trace,
        client,
        product: body.product,
        name: body.name,
        release: None,
        environment: body.environment,
        archtype: body.archtype,
        hardware: body.hardware,
        namespace: body.namespace,
        parameters: body.parameters,
        action,
        to_revision: None,
        principal: caller.scope.principal.as_ref().to_owned(),
        ordered_at: state.provisioner.parts.clock.now(),
        depth: 0,
        is_event: false,
    })
}

/// An order about a release, in its own names, and about no other one of them.
///
/// # Errors
/// 404 when it is removed, unless it is the order of an earlier call.
pub(super) async fn of_release(
    state: &State,
    caller: &Caller,
    headers: &HeaderMap,
    release: &Release,
    (action, to_revision): (Action, Option<u64>),
) -> Result<OrderRequest, Problem> {
    // The same key for another release is another request.
    let (id, trace) = named(caller, headers, &format!("{action} {}", release.id), None)?;
    if release.status.state == ReleaseState::Removed {
        let known = state.store().order(&caller.scope, id).await.map_err(Problem::of_store)?;
        if known.is_none() {
            return Err(Problem::not_found(format!("release {} is removed", release.name)));
        }
    }
    Ok(OrderRequest {
        id,
        trace,
        client: release.client.clone(),
        product: Some(release.product.clone()),
        name: Some(release.name.clone()),
        release: Some(release.id),
        environment: Some(release.environment.clone()),
        archtype: release.archtype.clone(),
        hardware: release.hardware.clone(),
        namespace: Some(release.namespace.clone()),
        parameters: None,
        action,
        to_revision,
        principal: caller.scope.principal.as_ref().to_owned(),
        ordered_at: state.provisioner.parts.clock.now(),
        depth: 0,
        is_event: false,
    })
}

/// The id and the trace of an order. One that is named has the same id and trace
/// whenever it is repeated.
fn named(
    caller: &Caller,
    headers: &HeaderMap,
    route: &str,
    trace: Option<&str>,
) -> Result<(EventId, TraceId), Problem> {
    let key = idempotency_key(headers)?;
    let id = EventId(match key {
        Some(key) => identity::request_id(&caller.scope.principal, route, key),
        None => Uuid::now_v7(),
    });
    let header = || headers.get("traceparent")?.to_str().ok().and_then(parse_traceparent);
    let trace = match trace {
        Some(given) if given.is_empty() || given.len() > TRACE_MAX || given.chars().any(char::is_control) => {
            let detail = format!("must be 1 to {TRACE_MAX} bytes without control characters");
            return Err(invalid("/trace_id", detail));
        }
        Some(given) => TraceId::from_given(given),
        None => match header() {
            Some(trace) => TraceId::from_uuid(trace),
            None if key.is_some() => identity::derived_trace(id),
            None => TraceId::from_uuid(Uuid::now_v7()),
        },
    };
    Ok((id, trace))
}

/// Records an order and answers once it is durable. An order that names its trace is
/// another order under another trace.
pub(super) async fn accept(
    state: &State,
    request: OrderRequest,
    names_trace: bool,
) -> Result<Response, Problem> {
    let trace = request.trace.clone();
    match state.provisioner.accept(request).await.map_err(of_accept)? {
        Acceptance::Known(order) if names_trace && order.trace.id != trace.id => {
            Err(of_refusal(&Refusal::OtherContent))
        }
        Acceptance::New(order) | Acceptance::Known(order) => Ok(accepted(&order)),
        Acceptance::Refused(refusal) => Err(of_refusal(&refusal)),
    }
}

fn accepted(order: &Order) -> Response {
    let status_url = format!("/v1/orders/{}", order.id);
    let location = [(header::LOCATION, status_url.clone())];
    let answer = OrderAccepted {
        order_id: order.id.to_string(),
        trace_id: order.trace.to_string(),
        state: order.state.to_string(),
        status_url,
    };
    (StatusCode::ACCEPTED, location, Json(answer)).into_response()
}
