//! Events in, in every form.

mod admit;
mod form;
mod intake;

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use orderwire_api::extract::{Body, Params, Segments, work_on};
use orderwire_api::wire::{Accepted, BatchAccepted};
use orderwire_api::{Caller, Problem, WriteProblems};
use orderwire_types::{EventType, Right, TraceId};
use serde::Deserialize;

pub(crate) use admit::Admission;

use crate::events::form::Form;
use crate::events::intake::{Batch, Intake};
use crate::problems::invalid;
use crate::publish::{named_request, publish, status_url, with_outcome};
use crate::state::Shared;

pub(crate) use admit::ORDER;

/// What happens to a batch with faulty entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnError {
    /// Nothing of it is accepted.
    #[default]
    Fail,
    /// The others are accepted, the faulty ones named.
    Skip,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventParams {
    /// `fail` (default): a batch with a faulty entry is refused as a whole;
    /// `skip`: the other entries are accepted.
    #[serde(default)]
    #[param(inline)]
    on_error: OnError,
}

/// Accepts events that say their own type.
///
/// A CloudEvent (structured, binary with `ce-` headers, or a batch),
/// message-attributes JSON, or one of these per line as NDJSON. Answered with
/// 202 only after the events are durable.
#[utoipa::path(post, path = "/v1/events", tag = "events", params(EventParams,
    ("idempotency-key" = Option<String>, Header, description = "the same key with the same body is accepted once within 24 hours"),
    ("orderwire-client" = Option<String>, Header, description = "the client of events that name none"),
    ("traceparent" = Option<String>, Header, description = "the W3C trace of events that name none")),
    request_body(description = "one event or many", content(
        (serde_json::Value = "application/json"), (serde_json::Value = "application/cloudevents+json"),
        (Vec<serde_json::Value> = "application/cloudevents-batch+json"), (String = "application/x-ndjson"))),
    responses((status = 202, description = "the event is durable; a batch is answered with `BatchAccepted`", body = Accepted),
        WriteProblems))]
pub(crate) async fn post_events(
    State(state): State<Shared>,
    caller: Caller,
    Params(params): Params<EventParams>,
    query: RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let call = Call { route: "POST /v1/events", event_type: None, query: query.0, on_error: params.on_error };
    accept(&state, &caller, &headers, &call, &body).await
}

/// Accepts plain JSON as an event of the type in the path; with NDJSON every
/// line is one. An event that says its own type must agree with the path.
#[utoipa::path(post, path = "/v1/events/{type}", tag = "events", params(EventParams,
    ("type" = String, Path, description = "the type, such as `shop.order.created`"),
    ("idempotency-key" = Option<String>, Header, description = "the same key with the same body is accepted once within 24 hours"),
    ("orderwire-client" = Option<String>, Header, description = "the client of events that name none"),
    ("traceparent" = Option<String>, Header, description = "the W3C trace of events that name none")),
    request_body(description = "the data of one event, or of many", content(
        (serde_json::Value = "application/json"), (serde_json::Value = "application/cloudevents+json"),
        (Vec<serde_json::Value> = "application/cloudevents-batch+json"), (String = "application/x-ndjson"))),
    responses((status = 202, description = "the event is durable; a batch is answered with `BatchAccepted`", body = Accepted),
        WriteProblems))]
pub(crate) async fn post_typed_events(
    State(state): State<Shared>,
    caller: Caller,
    Segments(event_type): Segments<String>,
    Params(params): Params<EventParams>,
    query: RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let event_type = event_type.parse().map_err(|err| invalid("", format!("the path: {err}")))?;
    let call = Call {
        route: "POST /v1/events/{type}",
        event_type: Some(event_type),
        query: query.0,
        on_error: params.on_error,
    };
    accept(&state, &caller, &headers, &call, &body).await
}

/// One call, whichever of the two routes it came by.
struct Call {
    route: &'static str,
    event_type: Option<EventType>,
    query: Option<String>,
    on_error: OnError,
}

async fn accept(
    state: &Shared,
    caller: &Caller,
    headers: &HeaderMap,
    call: &Call,
    body: &Body,
) -> Result<Response, Problem> {
    // An order needs the order right instead; which of the two is known later.
    if !caller.scope.may(Right::Order) {
        caller.require(Right::Write)?;
    }
    let form = Form::of(headers)?.or_batch(call.event_type.is_none(), &body.bytes);
    let client = caller.write_client(headers)?;
    let event_type = call.event_type.as_ref();
    let meaning = form.fingerprint(headers);
    let parts: [&[u8]; 5] = [
        &meaning,
        client.as_str().as_bytes(),
        event_type.map_or("", EventType::as_str).as_bytes(),
        call.query.as_deref().unwrap_or_default().as_bytes(),
        &body.bytes,
    ];
    let request = named_request(headers, caller, call.route, &parts)?;
    let name = request.as_ref().map(|request| request.id);
    let traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok());
    let one_of_one = || Intake::new(state, &caller.scope, client.clone(), event_type, traceparent, name);
    match &form {
        Form::Json => {
            let event = one_of_one().single(&body.bytes).map_err(|problem| {
                // Plain JSON of a typed path may be an array.
                if event_type.is_none() && problem.status == 422 && form::is_array(&body.bytes) {
                    return invalid("", NO_ARRAY);
                }
                problem
            })?;
            return one(publish(state, caller, vec![event], request).await?, name.is_some());
        }
        Form::Binary(attributes, content_type) => {
            let event = one_of_one().binary(attributes, *content_type, &body.bytes)?;
            return one(publish(state, caller, vec![event], request).await?, name.is_some());
        }
        Form::Batch | Form::Lines => {}
    }
    let is_lines = matches!(form, Form::Lines);
    let batch = {
        let (state, scope, bytes) = (Arc::clone(state), Arc::clone(&caller.scope), body.bytes.clone());
        let (event_type, traceparent) = (event_type.cloned(), traceparent.map(str::to_owned));
        work_on(bytes.len(), move || {
            let (event_type, traceparent) = (event_type.as_ref(), traceparent.as_deref());
            let mut intake = Intake::new(&state, &scope, client, event_type, traceparent, name);
            if is_lines { intake.lines(&bytes) } else { intake.batch(&bytes) }
        })
        .await?
    };
    let Batch { events, faults, entries, trace } = batch;
    metrics::counter!("orderwire_events_rejected_total").increment(faults.count());
    if !faults.is_empty() && call.on_error == OnError::Fail {
        return Err(faults.into_problem(entries, "events"));
    }
    let trace = match (events.iter().find(|new| new.event.trace == trace), events.first()) {
        (None, Some(first)) => first.event.trace.clone(),
        _ => trace,
    };
    let request = with_outcome(request, &faults);
    let accepted = events.len() as u64;
    if accepted > 0 {
        publish(state, caller, events, request).await?;
    }
    let answer = batch_answer(accepted, faults, &trace);
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

/// The answer to a batch.
pub(crate) fn batch_answer(accepted: u64, faults: crate::faults::Faults, trace: &TraceId) -> BatchAccepted {
    BatchAccepted {
        accepted,
        rejected: faults.count(),
        trace_id: trace.to_string(),
        errors: faults.into_named(),
        event_id: None,
        status_url: (accepted > 0).then(|| status_url(trace)),
    }
}

/// What to do with an array that is no batch.
const NO_ARRAY: &str = "an array is no event: send CloudEvents as application/cloudevents-batch+json, \
    and events of other forms one a line as application/x-ndjson";

/// The answer to one event. A request with a name of its own has the same answer
/// whenever it is repeated.
fn one(published: Vec<orderwire_queue::PublishedEvent>, is_named: bool) -> Result<Response, Problem> {
    let event = published
        .into_iter()
        .next()
        .ok_or_else(|| Problem::internal("the queue answered without the event that it took"))?;
    let answer = Accepted {
        event_id: event.event_id.to_string(),
        status_url: status_url(&event.trace),
        trace_id: event.trace.to_string(),
        queues: event.queues.iter().map(ToString::to_string).collect(),
        duplicate: event.duplicate && !is_named,
    };
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}
