//! Rows in as clients of PostgREST send them: the same rows, checked and accepted the same way
//! as by `POST /v1/datasets/{dataset}/rows`, in that dialect's words.

mod asked;
mod readback;

use axum::body::Body as Answer;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use orderwire_api::extract::{Body, Params, Segments, work_on};
use orderwire_api::rest::Refusal;
use orderwire_api::{Caller, Problem, WriteProblems};
use orderwire_types::Right;

pub(crate) use readback::NoReadback;
pub use readback::{Expected, Readback};

use self::asked::{Asked, Returned, WriteParams};
use crate::events::OnError;
use crate::publish::named_request;
use crate::rows::{Request, accept, form, only};
use crate::state::Shared;

/// Adds rows: a JSON object, an array of them, or CSV with a header. A row whose key is there
/// follows the dataset's `on_conflict`.
///
/// Answered when the rows are durable; with `Prefer: return=representation` once they are
/// recorded, with the rows.
#[utoipa::path(post, path = "/rest/{dataset}", tag = "rest", params(WriteParams,
    ("dataset" = String, Path, description = "the dataset's name"),
    ("prefer" = Option<String>, Header, description = "`return=minimal` (default) or `return=representation`; `resolution=merge-duplicates` or `ignore-duplicates`, where that is what the dataset does; `missing=default`"),
    ("idempotency-key" = Option<String>, Header, description = "the same key with the same body is accepted once within 24 hours"),
    ("orderwire-client" = Option<String>, Header, description = "whose rows they are"),
    ("traceparent" = Option<String>, Header, description = "the W3C trace of the rows")),
    request_body(description = "the rows", content((Vec<serde_json::Value> = "application/json"), (String = "text/csv"))),
    responses((status = 201, description = "the rows as they were recorded", body = Vec<serde_json::Value>),
        (status = 202, description = "the rows are durable"), WriteProblems))]
pub(crate) async fn post_rest(
    State(state): State<Shared>,
    caller: Caller,
    Segments(dataset): Segments<String>,
    Params(params): Params<WriteParams>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    caller.require(Right::Write)?;
    let form = form(&headers)?;
    let client = caller.write_client(&headers)?;
    let asked = Asked::of(&params, &headers)?;
    let query = query.unwrap_or_default();
    let parts: [&[u8]; 5] =
        [form.word(), client.as_str().as_bytes(), dataset.as_bytes(), query.as_bytes(), &body.bytes];
    let named = named_request(&headers, &caller, "POST /rest/{dataset}", &parts)?;
    let known = dataset.parse().ok().and_then(|name| state.store().dataset(&caller.scope, &name));
    if let Some(known) = &known {
        asked.fits(known)?;
    }
    let bytes = match &asked.columns {
        None => body.bytes.clone(),
        Some(columns) => {
            let (state, columns, bytes) = (state.clone(), columns.clone(), body.bytes.clone());
            let picked = work_on(bytes.len(), move || only(&columns, form, &bytes, state.limits()));
            Bytes::from(picked.await?)
        }
    };
    let expected = match (asked.returned, &known) {
        (Returned::Representation, Some(_)) => {
            let select = params.select.as_deref();
            match state.readback.expect(&caller, &client, &dataset, select, &headers).await {
                Ok(expected) => Some(expected),
                Err(refused) => return Ok(refused),
            }
        }
        _ => None,
    };
    let request = Request { dataset: &dataset, form, client, piece: None, on_error: OnError::Fail, named };
    let accepted = accept(&state, &caller, &headers, request, &bytes).await?;
    let count = accepted.answer.accepted;
    let recorded = match expected {
        Some(expected) => expected.rows(accepted.event, accepted.trace.id, count).await,
        None => None,
    };
    let mut response = recorded.unwrap_or_else(|| {
        let mut response = Response::new(Answer::empty());
        *response.status_mut() = StatusCode::ACCEPTED;
        response
    });
    if response.status().is_success() {
        let returned = response.status() == StatusCode::CREATED;
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static("preference-applied"), asked.applied(returned));
        let range = if asked.counts { format!("*/{count}") } else { "*/*".to_owned() };
        headers.insert(header::CONTENT_RANGE, HeaderValue::try_from(range).expect("a number"));
    }
    Ok(response)
}

/// The problem of a call that asks for what is not done.
fn refused(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Refusal {
    let slug = if status == StatusCode::CONFLICT { "conflict" } else { "invalid-query" };
    Refusal::coded(Problem::new(status, slug, detail), code)
}
