//! Rows in: checked against their dataset, accepted as one event.

mod check;
mod picked;
mod readers;

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use orderwire_api::extract::{Body, Params, Segments, content_type, work_on};
use orderwire_api::problem::shown;
use orderwire_api::wire::BatchAccepted;
use orderwire_api::{Caller, Problem, WriteProblems};
use orderwire_queue::NamedRequest;
use orderwire_types::envelope::{Incoming, parse_traceparent};
use orderwire_types::event::ImportedLines;
use orderwire_types::{
    Client, Data, DatasetName, Event, EventId, EventType, Origin, RawJson, Right, TraceId, identity,
};
use serde::Deserialize;
use uuid::Uuid;

use crate::events::{OnError, batch_answer};
use crate::problems::{invalid, unroutable, unsupported};
use crate::publish::{named_request, publish, with_outcome};
use crate::state::Shared;

pub(crate) use check::check_event;
pub(crate) use picked::only;
pub(crate) use readers::Readers;

/// What the types of rows begin with; the dataset's name follows.
pub(crate) const ROWS: &str = "orderwire.rows.";

/// The forms of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One JSON object or an array of them.
    Json,
    /// One JSON object a line.
    Lines,
    /// CSV with a header.
    Csv,
}

impl Form {
    pub(crate) fn word(self) -> &'static [u8] {
        match self {
            Self::Json => b"json",
            Self::Lines => b"lines",
            Self::Csv => b"csv",
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RowParams {
    /// `fail` (default): with a faulty row nothing is accepted; `skip`: the
    /// other rows are.
    #[serde(default)]
    #[param(inline)]
    on_error: OnError,
    /// The rows are a piece of a file with this SHA-256 (hex); the same piece
    /// is recorded once, however often it is sent. Needs `first`.
    import: Option<String>,
    /// How many rows of the file come before this piece.
    first: Option<u64>,
}

/// Accepts rows of a dataset: a JSON object or array, NDJSON, or CSV with a
/// header. All rows of a request travel as one event of the type
/// `orderwire.rows.<dataset>`, with their digits as they were sent.
#[utoipa::path(post, path = "/v1/datasets/{dataset}/rows", tag = "datasets", params(RowParams,
    ("dataset" = String, Path, description = "the dataset"),
    ("idempotency-key" = Option<String>, Header, description = "the same key with the same body is accepted once within 24 hours"),
    ("orderwire-client" = Option<String>, Header, description = "whose rows they are"),
    ("traceparent" = Option<String>, Header, description = "the W3C trace of the rows")),
    request_body(description = "the rows", content((Vec<serde_json::Value> = "application/json"),
        (String = "application/x-ndjson"), (String = "text/csv"))),
    responses((status = 202, description = "the rows are durable", body = BatchAccepted), WriteProblems))]
pub(crate) async fn post_rows(
    State(state): State<Shared>,
    caller: Caller,
    Segments(dataset): Segments<String>,
    Params(params): Params<RowParams>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<BatchAccepted>), Problem> {
    caller.require(Right::Write)?;
    let form = form(&headers)?;
    let piece = piece(&params)?;
    let client = caller.write_client(&headers)?;
    let query = query.unwrap_or_default();
    let parts: [&[u8]; 5] =
        [form.word(), client.as_str().as_bytes(), dataset.as_bytes(), query.as_bytes(), &body.bytes];
    let request = named_request(&headers, &caller, "POST /v1/datasets/{dataset}/rows", &parts)?;

    let request =
        Request { dataset: &dataset, form, client, piece, on_error: params.on_error, named: request };
    let accepted = accept(&state, &caller, &headers, request, &body.bytes).await?;
    Ok((StatusCode::ACCEPTED, Json(accepted.answer)))
}

/// Rows that somebody sends.
pub(crate) struct Request<'r> {
    pub(crate) dataset: &'r str,
    pub(crate) form: Form,
    pub(crate) client: Client,
    pub(crate) piece: Option<ImportedLines>,
    pub(crate) on_error: OnError,
    /// The name that the caller gave to the request.
    pub(crate) named: Option<NamedRequest>,
}

/// Rows that are durable.
pub(crate) struct Accepted {
    pub(crate) answer: BatchAccepted,
    /// The event that they travel in.
    pub(crate) event: EventId,
    pub(crate) trace: TraceId,
}

/// Accepts rows: checked against their dataset, durable as one event.
pub(crate) async fn accept(
    state: &Shared,
    caller: &Caller,
    headers: &HeaderMap,
    request: Request<'_>,
    body: &Bytes,
) -> Result<Accepted, Problem> {
    let Request { dataset, form, client, piece, on_error, named: request } = request;
    // The body comes before the name also where there is no dataset to check it.
    let known = dataset.parse::<DatasetName>().ok();
    let known = known.and_then(|name| Some((state.readers.of(state, &caller.scope, &name)?, name)));
    let Some((reader, name)) = known else {
        check::syntax(form, body, state.limits())?;
        return Err(Problem::not_found(format!("dataset {} does not exist", shown(dataset))));
    };
    let rows = {
        let (state, bytes) = (Arc::clone(state), body.clone());
        work_on(bytes.len(), move || check::rows(&reader, form, &bytes, state.limits())).await?
    };
    caller.covering(&client)?;
    if !rows.faults.is_empty() && on_error == OnError::Fail {
        metrics::counter!("orderwire_rows_rejected_total").increment(rows.faults.count());
        return Err(rows.faults.into_problem(rows.entries, "rows"));
    }

    let event_type: EventType =
        format!("{ROWS}{name}").parse().expect("a dataset's name is a word of a type");
    if state.queues().route(&event_type).is_empty() {
        return Err(unroutable(format!("no queue takes events of the type {event_type}")));
    }
    let named = match (&piece, &request) {
        (Some(piece), _) => Some(identity::import_id(&client, name.as_str(), &piece.file, piece.first)),
        (None, Some(request)) => Some(EventId(request.id)),
        (None, None) => None,
    };
    let id = named.unwrap_or_else(|| EventId(Uuid::now_v7()));
    let trace = headers.get("traceparent").and_then(|value| parse_traceparent(value.to_str().ok()?));
    let trace = trace.map_or_else(|| identity::derived_trace(id), TraceId::from_uuid);
    let request = with_outcome(request, &rows.faults);
    let accepted = rows.entries - rows.faults.count();
    let mut answer = batch_answer(accepted, rows.faults, &trace);
    metrics::counter!("orderwire_rows_rejected_total").increment(answer.rejected);
    if accepted > 0 {
        let event = event(id, event_type, client, trace.clone(), caller, rows.json, piece, state.now());
        publish(state, caller, vec![Incoming { event, named: named.is_some() }], request).await?;
        metrics::counter!("orderwire_rows_accepted_total").increment(accepted);
        answer.event_id = Some(id.to_string());
    }
    Ok(Accepted { answer, event: id, trace })
}

#[expect(clippy::too_many_arguments, reason = "the members of one event, named at the only call")]
fn event(
    id: EventId,
    event_type: EventType,
    client: Client,
    trace: TraceId,
    caller: &Caller,
    rows: RawJson,
    import: Option<ImportedLines>,
    accepted_at: jiff::Timestamp,
) -> Event {
    let principal = caller.scope.principal.as_ref();
    Event {
        id,
        event_type,
        source: format!("/{principal}"),
        client,
        key: None,
        time: None,
        trace,
        attempt: None,
        cause: None,
        accepted_at,
        principal: principal.to_owned(),
        may_order: false,
        depth: 0,
        import,
        origin: Origin::Plain,
        data: Data::Json(rows),
    }
}

pub(crate) fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    match content_type(headers)?.as_deref() {
        None | Some("application/json") => Ok(Form::Json),
        Some("application/x-ndjson" | "application/ndjson") => Ok(Form::Lines),
        Some("text/csv" | "application/csv") => Ok(Form::Csv),
        Some(other) => Err(unsupported(format!(
            "{} is not taken; send application/json, application/x-ndjson or text/csv",
            shown(other)
        ))),
    }
}

fn piece(params: &RowParams) -> Result<Option<ImportedLines>, Problem> {
    let (file, first) = match (&params.import, params.first) {
        (None, None) => return Ok(None),
        (Some(file), Some(first)) => (file, first),
        _ => return Err(invalid("", "the query of the URL: import and first go together")),
    };
    if params.on_error == OnError::Skip {
        // The rows behind a skipped one would have other numbers than in the file.
        return Err(invalid("", "the query of the URL: on_error=skip cannot go with import"));
    }
    let file = sha256(file)?;
    if i64::try_from(first).is_err() {
        return Err(invalid("", "the query of the URL: first is too large"));
    }
    Ok(Some(ImportedLines { file, first }))
}

/// The SHA-256 of a file as it is kept.
pub(crate) fn sha256(text: &str) -> Result<String, Problem> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(invalid("", "an imported file is named by its SHA-256, 64 hex digits"))
    }
}
