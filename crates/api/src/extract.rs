//! Extractors whose refusals are problems, for the handlers of every server.

use std::sync::Arc;
use std::time::Duration;

use axum::body::BodyDataStream;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use orderwire_types::json::nests_at_most;
use orderwire_types::{Fault, Limits};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use serde_path_to_error::Segment;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// How long a peer may take to send a body, and how long nothing of it may come.
const BODY_TIME: Duration = Duration::from_secs(60);
const SILENCE: Duration = Duration::from_secs(10);
/// How much of a body over the limit is read and thrown away, and for how
/// long, so that the peer gets to read its answer instead of a broken pipe.
const DRAIN_BYTES: usize = 64 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// Bodies up to this size are not counted against the budget.
const SMALL: usize = 16 << 10;
/// The unit in which the budget is counted.
const UNIT: usize = 4 << 10;
/// How many bodies of the largest size are in memory at once.
const LARGEST_AT_ONCE: usize = 32;

/// How much of bodies is taken. A state `Arc<S>` with `S: AsRef<Bodies>` makes
/// [`Body`] and [`Document`] work in its handlers.
pub struct Bodies {
    bytes: usize,
    json_depth: usize,
    /// The memory that bodies may take together: without it, as many of the
    /// largest as requests are handled at once would.
    budget: Arc<Semaphore>,
}

impl Bodies {
    /// Bodies of at most this many bytes, nested no deeper than `limits` says.
    pub fn new(bytes: usize, limits: &Limits) -> Self {
        let units = bytes.div_ceil(UNIT).saturating_mul(LARGEST_AT_ONCE);
        let budget = Arc::new(Semaphore::new(units.clamp(1, Semaphore::MAX_PERMITS)));
        Self { bytes, json_depth: limits.json_depth, budget }
    }
}

/// The body of a request, within the limit.
pub struct Body {
    /// All of it.
    pub bytes: Bytes,
    /// Its part of the budget, returned with the body.
    _budget: Option<OwnedSemaphorePermit>,
}

impl<S: AsRef<Bodies> + Send + Sync> FromRequest<Arc<S>> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Arc<S>) -> Result<Self, Problem> {
        read(request, state.as_ref().as_ref()).await
    }
}

/// A JSON document of one of our own types. An empty body is an empty object
/// where the type has only defaults.
pub struct Document<T>(pub T);

impl<T: DeserializeOwned, S: AsRef<Bodies> + Send + Sync> FromRequest<Arc<S>> for Document<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Arc<S>) -> Result<Self, Problem> {
        let bodies = state.as_ref().as_ref();
        require_json(request.headers())?;
        let body = read(request, bodies).await?;
        let body = if body.bytes.is_empty() { b"{}" } else { body.bytes.as_ref() };
        document(body, bodies.json_depth).map(Self)
    }
}

/// The query of a request.
pub struct Params<T>(pub T);

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
pub struct Segments<T>(pub T);

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
pub fn content_type(headers: &HeaderMap) -> Result<Option<String>, Problem> {
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

/// Demands that a body is said to be JSON, or not said to be anything.
///
/// # Errors
/// 415.
pub fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let form = content_type(headers)?;
    if form.as_deref().is_some_and(|form| form != "application/json") {
        return Err(unsupported("send the body as application/json"));
    }
    Ok(())
}

/// Reads a document of one of our own types, nested no deeper than so many levels.
///
/// # Errors
/// 400 when it is not JSON, 422 with the pointer of the member that is wrong.
pub fn document<T: DeserializeOwned>(body: &[u8], json_depth: usize) -> Result<T, Problem> {
    let text = std::str::from_utf8(body).map_err(|err| malformed(format!("not UTF-8: {err}")))?;
    if !nests_at_most(body, json_depth) {
        return Err(invalid("", format!("nested deeper than {json_depth} levels")));
    }
    // A list would be taken for the members of an object, in their order.
    if text.trim_start().starts_with('[') && serde_json::from_str::<IgnoredAny>(text).is_ok() {
        return Err(invalid("", "must be a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|err| {
        let pointer = pointer(err.path());
        let err = err.into_inner();
        match err.classify() {
            Category::Data => {
                // The pointer says where; the parser's place is of no use beside it.
                let detail = err.to_string();
                let detail = detail.split(" at line ").next().unwrap_or(&detail);
                Fault::invalid(pointer, detail).into()
            }
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

async fn read(request: Request, bodies: &Bodies) -> Result<Body, Problem> {
    let limit = bodies.bytes;
    let over = || too_large(format!("the body has more than {limit} bytes; send it in smaller pieces"));
    let headers = request.headers();
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let asks_first = headers.contains_key(header::EXPECT);
    let mut stream = request.into_body().into_data_stream();
    if declared.is_some_and(|declared: usize| declared > limit) {
        // A peer that asks first has not begun to send.
        if !asks_first {
            drain(stream).await;
        }
        return Err(over());
    }
    let mut budget = Budget { bodies, held: None };
    let read = whole(&mut stream, declared, limit, &mut budget);
    let read = tokio::time::timeout(BODY_TIME, read).await.unwrap_or_else(|_| Err(too_slow()));
    match read? {
        Some(bytes) => Ok(Body { bytes, _budget: budget.held }),
        None => {
            drain(stream).await;
            Err(over())
        }
    }
}

/// A body's part of the memory. It grows with what has arrived, because what a
/// peer merely announces costs nothing.
struct Budget<'s> {
    bodies: &'s Bodies,
    held: Option<OwnedSemaphorePermit>,
}

impl Budget<'_> {
    /// Covers a body of this size.
    fn cover(&mut self, bytes: usize) -> Result<(), Problem> {
        let units = if bytes > SMALL { bytes.div_ceil(UNIT) } else { 0 };
        let more = units.saturating_sub(self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let more = Arc::clone(&self.bodies.budget).try_acquire_many_owned(more).map_err(|_| {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "too many large bodies are being handled; try again later",
            )
            .retry_after(1)
        })?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

/// All of a body; `None` when it is larger than the limit.
async fn whole(
    stream: &mut BodyDataStream,
    declared: Option<usize>,
    limit: usize,
    budget: &mut Budget<'_>,
) -> Result<Option<Bytes>, Problem> {
    let Some(first) = chunk(stream).await? else { return Ok(Some(Bytes::new())) };
    let mut length = first.len();
    let mut whole: Option<BytesMut> = None;
    while length <= limit {
        budget.cover(whole.as_ref().map_or(length, BytesMut::capacity))?;
        let Some(chunk) = chunk(stream).await? else {
            // A body of one piece is not copied.
            return Ok(Some(whole.map_or(first, BytesMut::freeze)));
        };
        length += chunk.len();
        if length > limit {
            break;
        }
        let all = whole.get_or_insert_with(|| BytesMut::from(first.as_ref()));
        if all.capacity() < length {
            // Twice as much as there is, so that a body is copied few times.
            let room = (2 * length).min(declared.unwrap_or(limit)).max(length);
            budget.cover(room)?;
            all.reserve(room - all.len());
        }
        all.extend_from_slice(&chunk);
    }
    Ok(None)
}

/// The next piece of a body.
async fn chunk(stream: &mut BodyDataStream) -> Result<Option<Bytes>, Problem> {
    match tokio::time::timeout(SILENCE, stream.next()).await {
        Err(_) => Err(too_slow()),
        Ok(None) => Ok(None),
        Ok(Some(chunk)) => chunk.map(Some).map_err(|_| broken()),
    }
}

fn too_slow() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timed-out", "the body did not arrive in time")
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

/// Bodies from this size on are parsed away from the threads that serve others.
const LONG_WORK: usize = 128 << 10;

/// Does work that takes as long as the body is large.
///
/// # Errors
/// The work's; 503 when the server stops meanwhile.
pub async fn work_on<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    if bytes < LONG_WORK {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(err) => match err.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Problem::unavailable("the server is shutting down")),
        },
    }
}

/// The key of the header `Idempotency-Key`.
///
/// # Errors
/// 422 when the header is not 1 to 255 visible ASCII characters, once.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let visible = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_graphic);
    let key = value.to_str().ok().filter(|key| (1..=255).contains(&key.len()) && visible(key.as_bytes()));
    match (key, values.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(invalid("", "header Idempotency-Key: must be 1 to 255 visible ASCII characters, once")),
    }
}

fn invalid(pointer: &str, detail: impl Into<String>) -> Problem {
    Fault::invalid(pointer, detail).into()
}

fn malformed(detail: impl Into<String>) -> Problem {
    Fault::malformed(detail).into()
}

fn too_large(detail: impl Into<String>) -> Problem {
    Fault::too_large("", detail).into()
}

fn unsupported(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::NewOrder;

    #[test]
    fn a_list_is_not_taken_for_the_members_of_an_object() {
        for body in [&br#"["acme","web","arr"]"#[..], b"[]", b" [null]"] {
            let problem = document::<NewOrder>(body, 8).unwrap_err();
            assert_eq!(problem.status, 422, "{problem:?}");
        }
        assert_eq!(document::<NewOrder>(b"[", 8).unwrap_err().status, 400);
        assert!(document::<NewOrder>(br#"{"client":"acme"}"#, 8).is_ok());
    }
}
