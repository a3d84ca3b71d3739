//! Errors as RFC 9457 `application/problem+json`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use orderwire_types::{Failure, FailureKind, Fault, FaultKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What every problem type begins with; the rest is its slug, described in
/// `docs/problems.md`.
pub const TYPE_PREFIX: &str = "https://orderwire.dev/problems/";

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A stable URI that names the kind of problem.
    #[serde(rename = "type")]
    pub problem_type: String,
    /// The kind of problem in a few words; the same for every problem of the type.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// This problem: what is wrong and what to do.
    pub detail: String,
    /// The RFC 6901 pointer of the faulty field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Every fault, where a request can have several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemError>,
    /// The trace id of the request, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// After how many seconds trying again makes sense; also sent as `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

/// A text from outside, cut for a message.
pub fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(64).collect::<String>())
}

/// One fault of several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemError {
    /// The line or index (from 1) within a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The RFC 6901 pointer within the document or line.
    pub pointer: String,
    /// What is wrong.
    pub detail: String,
}

impl Problem {
    /// A problem of this status and slug.
    pub fn new(status: StatusCode, slug: &str, detail: impl Into<String>) -> Self {
        Self {
            problem_type: format!("{TYPE_PREFIX}{slug}"),
            title: slug.replace('-', " "),
            status: status.as_u16(),
            detail: detail.into(),
            pointer: None,
            errors: Vec::new(),
            trace_id: None,
            retry_after: None,
        }
    }

    /// 401: no key, or one that is unknown, revoked or expired.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// 403: the key lacks the right or the client.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// 409.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// 503 with `Retry-After`: nothing was changed, the same call may succeed.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(1)
    }

    /// 500: a fault of this server. The detail must not leak internals.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// 503: stored data is damaged. What exactly is for the operator: it is logged.
    pub fn damaged(what: &str) -> Self {
        tracing::error!(error = what, "stored data is damaged");
        let detail = "stored data is damaged; the server's log says what is";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "damaged", detail).retry_after(60)
    }

    /// What went wrong in the store.
    #[expect(clippy::needless_pass_by_value, reason = "the argument of map_err")]
    pub fn of_store(error: impl Failure) -> Self {
        let detail = error.to_string();
        match error.kind() {
            FailureKind::NotFound => Self::not_found(detail),
            FailureKind::Conflict => Self::conflict(detail),
            FailureKind::Invalid => Fault::invalid("", detail).into(),
            FailureKind::TooCostly => Self::new(StatusCode::GATEWAY_TIMEOUT, "too-costly", detail),
            FailureKind::Unavailable => {
                tracing::warn!(error = detail, "the store cannot answer");
                Self::unavailable(detail)
            }
            FailureKind::Damaged => Self::damaged(&detail),
        }
    }

    /// Points at the faulty field.
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// Says when to try again.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Lists every fault.
    pub fn with_errors(mut self, errors: Vec<ProblemError>) -> Self {
        self.errors = errors;
        self
    }

    /// Names the trace.
    pub fn with_trace(mut self, trace: impl Into<String>) -> Self {
        self.trace_id = Some(trace.into());
        self
    }

    /// The last part of the type.
    pub fn slug(&self) -> &str {
        self.problem_type.strip_prefix(TYPE_PREFIX).unwrap_or(&self.problem_type)
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let (status, slug) = match fault.kind {
            FaultKind::Malformed => (StatusCode::BAD_REQUEST, "malformed"),
            FaultKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            FaultKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            FaultKind::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
        };
        let problem = Self::new(status, slug, fault.detail);
        if fault.pointer.is_empty() { problem } else { problem.at(fault.pointer) }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)?;
        if let Some(pointer) = self.pointer.as_ref().filter(|pointer| !pointer.is_empty()) {
            write!(f, " (at {pointer})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).expect("a problem is serialisable");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // For a layer that tells it in other words.
        response.extensions_mut().insert(self);
        response
    }
}
