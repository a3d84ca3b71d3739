//! Errors as clients of PostgREST read them: problems that carry `code`, `message`,
//! `details` and `hint` beside their own members.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::problem::Problem;

/// Where this is spoken.
pub const ROOT: &str = "/rest";

/// An error of a call below [`ROOT`].
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The problem.
    pub problem: Box<Problem>,
    /// What PostgREST or PostgreSQL calls such an error.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What stands behind it.
    pub details: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Refusal {
    /// A problem under a code of its own.
    pub fn coded(problem: Problem, code: &'static str) -> Self {
        let details = (!problem.errors.is_empty()).then(|| {
            let faults = problem.errors.iter().map(|fault| {
                let line = fault.line.map(|line| format!("row {line}: ")).unwrap_or_default();
                let at = if fault.pointer.is_empty() { "" } else { ": " };
                format!("{line}{}{at}{}", fault.pointer, fault.detail)
            });
            faults.collect::<Vec<_>>().join("; ")
        });
        Self { message: problem.detail.clone(), problem: Box::new(problem), code, details, hint: None }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let code = match (problem.status, problem.slug()) {
            (401, _) => "PGRST301",
            (403, _) => "42501",
            (404, _) => "42P01",
            (405, _) => "PGRST117",
            (406, _) => "PGRST107",
            (_, "conflict" | "idempotency-conflict") => "23505",
            (_, "malformed" | "unsupported-media-type") => "PGRST102",
            (_, "too-large") => "54000",
            (_, "invalid") => "22P02",
            (_, "invalid-query") => "PGRST100",
            (_, "overloaded" | "busy" | "queue-full") => "53300",
            (_, "timed-out" | "too-costly") => "57014",
            (503, _) => "PGRST000",
            _ => "PGRSTX00",
        };
        Self::coded(problem, code)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    problem: &'a Problem,
    code: &'a str,
    message: &'a str,
    details: Option<&'a str>,
    hint: Option<&'a str>,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&Body {
            problem: &self.problem,
            code: self.code,
            message: &self.message,
            details: self.details.as_deref(),
            hint: self.hint.as_deref(),
        })
        .expect("a problem is serialisable");
        // The problem's own answer brings its status and headers; only the body is ours.
        let mut response = self.problem.into_response();
        response.extensions_mut().remove::<Problem>();
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        *response.body_mut() = body.into();
        response
    }
}

/// Whether a path is one where this is spoken.
pub fn is_spoken(path: &str) -> bool {
    path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// An answer, whose problem, if it is one, is told in these words.
pub fn told(mut response: Response) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let mut told = Refusal::from(problem).into_response();
    // What a layer added, such as `Allow`, stays.
    for (name, value) in response.headers() {
        if *name != header::CONTENT_LENGTH && !told.headers().contains_key(name) {
            told.headers_mut().append(name, value.clone());
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[test]
    fn it_is_spoken_below_the_root_alone() {
        for (path, spoken) in [("/rest", true), ("/rest/air", true), ("/restless", false), ("/v1/x", false)] {
            assert_eq!(is_spoken(path), spoken, "{path}");
        }
    }

    #[test]
    fn a_problem_is_told_once_and_other_answers_stay() {
        let response = told(Problem::not_found("nothing").into_response());
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        assert!(!told(response).headers().contains_key(header::CONTENT_LENGTH));
        assert!(told(StatusCode::OK.into_response()).headers().get(header::CACHE_CONTROL).is_none());
    }
}
