//! An answer as it is kept, and as it is sent.
//!
//! What is kept is what a hit sends, so that a hit copies nothing. Where the
//! answer holds the flag `"cache"`, a miss sends the same bytes up to the flag
//! and another end. A compressed answer is kept beside, in the same way.

use axum::body::Body;
use axum::http::header::{
    AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, VARY, WARNING,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use orderwire_cache::Entry;
use sha2::{Digest, Sha256};

use super::headers::{self, Media};
use crate::cached::{Found, Load, Source};
use crate::coding::{Coding, LEAST_BYTES};
use crate::error::{Error, ErrorKind};
use crate::sink::FLAG;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// The cursor of the next page.
pub(super) const NEXT: HeaderName = HeaderName::from_static("orderwire-next");
const HIT_END: &[u8] = b"true}";
const MISS_END: &[u8] = b"false}";

/// What is said of an answer beside its body.
pub(super) struct Meta {
    pub(super) status: StatusCode,
    pub(super) media: Media,
    /// Whether the body ends with the flag.
    pub(super) flagged: bool,
    pub(super) content_range: Option<String>,
    /// The cursor of the next page.
    pub(super) next: Option<String>,
}

impl Meta {
    /// As it is kept: `status media flag_at`, the tag, the range, the next page and, of a compressed
    /// body, `coding other_end`, line by line.
    /// The tag is over all that the caller gets but the flag.
    pub(super) fn encode(&self, body: &[u8]) -> Bytes {
        let flag_at = if self.flagged { body.len() - HIT_END.len() } else { body.len() };
        debug_assert!(!self.flagged || body[..flag_at].ends_with(FLAG));
        let media = self.media.letter();
        let range = self.content_range.as_deref().unwrap_or_default();
        let next = self.next.as_deref().unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(format!("{} {media} {range} {next}\n", self.status.as_u16()));
        hash.update(&body[..flag_at]);
        let mut tag = String::with_capacity(32);
        for byte in &hash.finalize()[..16] {
            tag.push_str(&format!("{byte:02x}"));
        }
        format!("{} {media} {flag_at}\nW/\"{tag}\"\n{range}\n{next}", self.status.as_u16()).into()
    }
}

/// What a kept meta says, sharing its bytes.
struct Seen {
    status: StatusCode,
    media: Media,
    flag_at: usize,
    etag: HeaderValue,
    content_range: Option<HeaderValue>,
    next: Option<HeaderValue>,
    coding: Coding,
    /// What a miss ends with.
    other_end: Bytes,
}

impl Seen {
    fn decode(meta: &Bytes) -> Option<Self> {
        let mut lines = meta.split(|byte| *byte == b'\n');
        let (first, tag, range, next) = (lines.next()?, lines.next()?, lines.next()?, lines.next()?);
        let mut words = std::str::from_utf8(first).ok()?.split(' ');
        let status = StatusCode::from_bytes(words.next()?.as_bytes()).ok()?;
        let media = Media::of_letter(words.next()?)?;
        let flag_at = words.next()?.parse().ok()?;
        let shared = |slice: &[u8]| HeaderValue::from_maybe_shared(meta.slice_ref(slice)).ok();
        let some = |slice: &[u8]| if slice.is_empty() { Some(None) } else { shared(slice).map(Some) };
        let (content_range, next) = (some(range)?, some(next)?);
        let (coding, other_end) = match lines.next() {
            None => (Coding::Identity, Bytes::from_static(MISS_END)),
            Some(line) => {
                let (coding, end) = std::str::from_utf8(line).ok()?.split_once(' ')?;
                (Coding::of(coding)?, of_hex(end)?)
            }
        };
        Some(Self { status, media, flag_at, etag: shared(tag)?, content_range, next, coding, other_end })
    }
}

/// Whether an entry is an answer that can be sent: what a shared cache holds may be of another
/// version, or of somebody else.
pub fn is_answer(entry: &Entry) -> bool {
    Seen::decode(&entry.meta).is_some_and(|seen| seen.flag_at <= entry.body.len())
}

/// What compresses a kept answer; nothing where that would save nothing. Not on a thread that
/// answers others.
pub(super) fn coded(entry: &Entry, coding: Coding) -> Option<Load> {
    let seen = Seen::decode(&entry.meta)?;
    // Parquet is compressed inside.
    if entry.body.len() < LEAST_BYTES || seen.media == Media::Parquet || coding == Coding::Identity {
        return None;
    }
    let (body, meta) = (entry.body.clone(), entry.meta.clone());
    Some(Box::pin(async move {
        let work = move || {
            let flagged = seen.flag_at < body.len();
            let (start, end) = body.split_at(seen.flag_at);
            let coded = coding.code(start, end, if flagged { MISS_END } else { b"" })?;
            let text = String::from_utf8_lossy(&meta);
            let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
            let head = first.rsplit_once(' ').map_or(first, |(head, _)| head);
            let flag_at = if flagged { coded.end_at } else { coded.body.len() };
            let mut meta = format!("{head} {flag_at}\n{rest}\n{} ", coding.name());
            coded.other_end.iter().for_each(|byte| meta.push_str(&format!("{byte:02x}")));
            Ok((coded.body, Bytes::from(meta)))
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Internal, "PGRSTX00", "compressing failed; see the server's log"))
        })
    }))
}

fn of_hex(text: &str) -> Option<Bytes> {
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// The answer to a call that is of it alone.
pub(super) fn fresh(status: StatusCode, body: Bytes, meta: &Meta) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(meta.media.content_type()));
    if let Some(range) = meta.content_range.as_ref().and_then(|range| HeaderValue::try_from(range).ok()) {
        headers.insert(CONTENT_RANGE, range);
    }
    response
}

/// What is the same for every answer of a route.
pub(crate) struct Policy {
    pub(crate) cache_control: HeaderValue,
    pub(crate) vary: Option<HeaderValue>,
}

/// The response to this request.
pub(super) fn respond(found: &Found, policy: &Policy, request: &HeaderMap) -> Result<Response, Error> {
    let seen = Seen::decode(&found.entry.meta)
        .ok_or_else(|| Error::new(ErrorKind::Internal, "PGRSTX00", "a cached answer cannot be read"))?;
    let known = headers::has(request, seen.etag.as_bytes());
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.reserve(10);
    headers.insert(CACHE_CONTROL, policy.cache_control.clone());
    if let Some(vary) = &policy.vary {
        headers.insert(VARY, vary.clone());
    }
    if found.source.is_cached() {
        headers.insert(AGE, found.age.into());
    }
    headers.insert(
        CACHE_STATUS,
        HeaderValue::from_static(match found.source {
            Source::Hit => "orderwire; hit",
            Source::Stale => "orderwire; hit; detail=stale",
            Source::Miss => "orderwire; fwd=miss",
            Source::Collapsed => "orderwire; fwd=miss; collapsed",
            Source::Bypass => "orderwire; fwd=bypass",
        }),
    );
    if found.source == Source::Stale {
        headers.insert(WARNING, HeaderValue::from_static("110 orderwire \"Response is Stale\""));
    }
    headers.insert(ETAG, seen.etag);
    if let Some(next) = seen.next {
        headers.insert(NEXT, next);
    }
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(seen.media.content_type()));
    if seen.coding != Coding::Identity {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(seen.coding.name()));
    }
    if let Some(range) = seen.content_range {
        headers.insert(CONTENT_RANGE, range);
    }
    let body = found.entry.body.clone();
    if found.source.is_cached() || seen.flag_at >= body.len() {
        *response.body_mut() = Body::from(body);
    } else {
        headers.insert(CONTENT_LENGTH, (seen.flag_at + seen.other_end.len()).into());
        let parts = [body.slice(..seen.flag_at), seen.other_end];
        let parts = parts.map(Ok::<_, std::convert::Infallible>);
        *response.body_mut() = Body::from_stream(futures::stream::iter(parts));
    }
    *response.status_mut() = seen.status;
    Ok(response)
}
