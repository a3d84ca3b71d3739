//! Extractors whose refusals are problems.

use std::time::Duration;

use axum::body::BodyDataStream;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use orderwire_api::Problem;
use orderwire_types::json::nests_at_most;
use orderwire_types::{Fault, Limits};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::Segment;

use crate::problems::{invalid, malformed, too_large, unsupported};
use crate::state::Shared;

/// How long a peer may take to send a body.
const BODY_TIME: Duration = Duration::from_secs(60);
/// How much of a body over the limit is read and thrown away, and for how
/// long, so that the peer gets to read its answer instead of a broken pipe.
const DRAIN_BYTES: usize = 64 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// The body of a request, within the limit.
pub(crate) struct Body(pub(crate) Bytes);

impl FromRequest<Shared> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Problem> {
        read(request, state.limits().body_bytes).await.map(Self)
    }
}

/// A JSON document of one of our own types. An empty body is an empty object
/// where the type has only defaults.
pub(crate) struct Document<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Document<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Problem> {
        let form = content_type(request.headers())?;
        if form.as_deref().is_some_and(|form| form != "application/json") {
            return Err(unsupported("send the body as application/json"));
        }
        let body = read(request, state.limits().body_bytes).await?;
        let body = if body.is_empty() { b"{}" } else { body.as_ref() };
        document(body, state.limits()).map(Self)
    }
}

/// The query of a request.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        query.map(|query| Self(query.0)).map_err(|err| {
            let text = err.body_text();
            let detail = text.rsplit_once("query string: ").map_or(text.as_str(), |(_, detail)| detail);
            invalid("", format!("the query of the URL: {detail}"))
        })
    }
}

/// The variable segments of a path. What cannot be read names nothing.
pub(crate) struct Segments<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0)).map_err(|_| Problem::not_found("the path is not valid UTF-8"))
    }
}

/// The media type of a body without its parameters, in lower case.
///
/// # Errors
/// 415 for a charset other than UTF-8 and for a compressed body.
pub(crate) fn content_type(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let encoding = headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(unsupported("send the body without Content-Encoding"));
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    let value = value.to_str().map_err(|_| unsupported("the Content-Type is not ASCII"))?;
    let mut parts = value.split(';');
    let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    for parameter in parts {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"');
        if name.trim().eq_ignore_ascii_case("charset")
            && !["utf-8", "utf8", "us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known))
        {
            return Err(unsupported("send the body in UTF-8"));
        }
    }
    Ok((!essence.is_empty()).then_some(essence))
}

/// Reads a document of one of our own types.
///
/// # Errors
/// 400 when it is not JSON, 422 with the pointer of the member that is wrong.
pub(crate) fn document<T: DeserializeOwned>(body: &[u8], limits: &Limits) -> Result<T, Problem> {
    let text = std::str::from_utf8(body).map_err(|err| malformed(format!("not UTF-8: {err}")))?;
    if !nests_at_most(body, limits.json_depth) {
        return Err(invalid("", format!("nested deeper than {} levels", limits.json_depth)));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|err| {
        let pointer = pointer(err.path());
        let err = err.into_inner();
        match err.classify() {
            Category::Data => Fault::invalid(pointer, err.to_string()).into(),
            _ => malformed(format!("not JSON: {err}")),
        }
    })?;
    deserializer.end().map_err(|err| malformed(format!("not JSON: {err}")))?;
    Ok(value)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

async fn read(request: Request, limit: usize) -> Result<Bytes, Problem> {
    let over = || too_large(format!("the body has more than {limit} bytes; send it in smaller pieces"));
    let headers = request.headers();
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let asks_first = headers.contains_key(header::EXPECT);
    let mut stream = request.into_body().into_data_stream();
    if declared.is_some_and(|declared: u64| declared > limit as u64) {
        // A peer that asks first has not begun to send.
        if !asks_first {
            drain(stream).await;
        }
        return Err(over());
    }
    let all = async {
        let first = match stream.next().await {
            None => return Ok::<_, Problem>(Some(Bytes::new())),
            Some(chunk) => chunk.map_err(|_| broken())?,
        };
        let mut whole = None;
        let mut length = first.len();
        while length <= limit {
            let Some(chunk) = stream.next().await else {
                return Ok(Some(whole.map_or(first, BytesMut::freeze)));
            };
            let chunk = chunk.map_err(|_| broken())?;
            length += chunk.len();
            whole
                .get_or_insert_with(|| {
                    let declared = declared.and_then(|declared| usize::try_from(declared).ok());
                    let mut whole = BytesMut::with_capacity(declared.unwrap_or(2 * length).min(limit));
                    whole.extend_from_slice(&first);
                    whole
                })
                .extend_from_slice(&chunk);
        }
        Ok(None)
    };
    let read = tokio::time::timeout(BODY_TIME, all).await.map_err(|_| {
        Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timed-out", "the body did not arrive in time")
    })?;
    match read? {
        Some(body) => Ok(body),
        None => {
            drain(stream).await;
            Err(over())
        }
    }
}

fn broken() -> Problem {
    malformed("the body ended early")
}

async fn drain(mut stream: BodyDataStream) {
    let all = async {
        let mut length = 0;
        while let Some(Ok(chunk)) = stream.next().await {
            length += chunk.len();
            if length > DRAIN_BYTES {
                return;
            }
        }
    };
    // Out of time: the peer may miss its answer, which is its own doing.
    let _ = tokio::time::timeout(DRAIN_TIME, all).await;
}
