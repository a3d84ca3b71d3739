//! What can go wrong with a read, and how it is said over HTTP.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use orderwire_api::Problem;
use orderwire_api::rest::Refusal;

/// The kinds of error, each with one status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The query cannot be read, or asks for what does not exist: 400.
    Invalid,
    /// The caller may not: 401, 403 or 422, as the problem inside says.
    Refused,
    /// No such dataset: 404.
    NotFound,
    /// Nothing but GET and HEAD is served here: 405.
    Method,
    /// No media type that the caller takes, or not exactly one row: 406.
    NotAcceptable,
    /// The range begins after the last row, or is empty: 416.
    Range,
    /// The read took longer or more than it may: 504.
    TooCostly,
    /// The store cannot answer now: 503.
    Unavailable,
    /// A fault of this server: 500.
    Internal,
}

/// An error of a read. Its body is a problem that carries, beside its own
/// members, those that PostgREST clients look for: `code`, `message`,
/// `details` and `hint`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Error(Box<Parts>);

/// Boxed: errors travel through every step of a read, and answers should not
/// pay for their size.
#[derive(Clone, Debug)]
struct Parts {
    kind: ErrorKind,
    /// The code that PostgREST or PostgreSQL gives such an error.
    code: &'static str,
    message: String,
    details: Option<String>,
    hint: Option<String>,
    /// How many rows there are, when a range is beyond them.
    total: Option<u64>,
    problem: Option<Problem>,
}

impl Error {
    /// An error of this kind. `code` is what PostgREST or PostgreSQL calls it.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            code,
            message: message.into(),
            details: None,
            hint: None,
            total: None,
            problem: None,
        }))
    }

    /// A query that cannot be read.
    pub(crate) fn syntax(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, "PGRST100", message)
    }

    /// What stands behind the message.
    pub(crate) fn details(mut self, details: impl Into<String>) -> Self {
        self.0.details = Some(details.into());
        self
    }

    /// What to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// How many rows there are.
    pub(crate) fn total(mut self, total: Option<u64>) -> Self {
        self.0.total = total;
        self
    }

    /// Which kind it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What PostgREST or PostgreSQL calls it.
    pub fn code(&self) -> &str {
        self.0.code
    }

    /// The message with what stands behind it and what to do.
    pub(crate) fn detail(&self) -> String {
        let mut detail = self.0.message.clone();
        for more in [&self.0.details, &self.0.hint].into_iter().flatten() {
            detail.push_str("; ");
            detail.push_str(more);
        }
        detail
    }

    fn status(&self) -> (StatusCode, &'static str) {
        match self.0.kind {
            ErrorKind::Invalid => (StatusCode::BAD_REQUEST, "invalid-query"),
            ErrorKind::Refused => (StatusCode::FORBIDDEN, "forbidden"),
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            ErrorKind::Method => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed"),
            ErrorKind::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "not-acceptable"),
            ErrorKind::Range => (StatusCode::RANGE_NOT_SATISFIABLE, "range-not-satisfiable"),
            ErrorKind::TooCostly => (StatusCode::GATEWAY_TIMEOUT, "too-costly"),
            ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    fn problem(&self) -> Problem {
        if let Some(problem) = &self.0.problem {
            return problem.clone();
        }
        let (status, slug) = self.status();
        let problem = Problem::new(status, slug, self.detail());
        if self.0.kind == ErrorKind::Unavailable { problem.retry_after(1) } else { problem }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        let kind = match problem.status {
            503 => ErrorKind::Unavailable,
            500 => ErrorKind::Internal,
            _ => ErrorKind::Refused,
        };
        let code = match Refusal::from(problem.clone()).code {
            // What of a read is wrong beside its query is who asks, and for whom.
            "22P02" => "42501",
            code => code,
        };
        let mut error = Self::new(kind, code, problem.detail.clone());
        error.0.problem = Some(problem);
        error
    }
}

impl From<orderwire_store::Error> for Error {
    fn from(error: orderwire_store::Error) -> Self {
        use orderwire_store::ErrorKind as Store;
        let (kind, code) = match error.kind() {
            Store::NotFound => (ErrorKind::NotFound, "42P01"),
            Store::Invalid | Store::Conflict => (ErrorKind::Invalid, "PGRST100"),
            Store::TooCostly => (ErrorKind::TooCostly, "57014"),
            Store::Unavailable => (ErrorKind::Unavailable, "PGRST000"),
            Store::Damaged => {
                // What is damaged is for the operator's eyes, in the store's own log.
                let message = "the stored data is damaged; the operator must look at the server's log";
                return Self::new(ErrorKind::Internal, "XX001", message);
            }
        };
        let made = Self::new(kind, code, error.to_string());
        if kind == ErrorKind::TooCostly {
            return made.hint("narrow the filter, select fewer rows, or order by an indexed column");
        }
        made
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let Parts { kind, code, message, details, hint, total, .. } = *self.0;
        let mut response =
            Refusal { problem: Box::new(problem), code, message, details, hint }.into_response();
        let headers = response.headers_mut();
        match kind {
            ErrorKind::Method => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            ErrorKind::Range => {
                let total = total.map_or_else(|| "*".to_owned(), |total| total.to_string());
                if let Ok(range) = HeaderValue::try_from(format!("*/{total}")) {
                    headers.insert(header::CONTENT_RANGE, range);
                }
            }
            _ => {}
        }
        response
    }
}
