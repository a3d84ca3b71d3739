//! The faults of a request of many entries: each is named, up to a bound.

use axum::http::StatusCode;
use orderwire_api::Problem;
use orderwire_api::problem::ProblemError;

/// How many faults an answer names.
const NAMED_MAX: usize = 1_000;

/// What is wrong with the entries of one request.
#[derive(Default)]
pub(crate) struct Faults {
    named: Vec<ProblemError>,
    count: u64,
    /// Status and slug that all of them share; `None` when they differ.
    shared: Option<(u16, String)>,
    differ: bool,
}

impl Faults {
    /// Notes the fault of the entry in this line (from 1).
    pub(crate) fn add(&mut self, line: u64, problem: Problem) {
        self.count += 1;
        if !self.differ {
            match &self.shared {
                None => self.shared = Some((problem.status, problem.slug().to_owned())),
                Some((status, slug)) => self.differ = *status != problem.status || slug != problem.slug(),
            }
        }
        if self.named.len() < NAMED_MAX {
            self.named.push(ProblemError {
                line: Some(line),
                pointer: problem.pointer.unwrap_or_default(),
                detail: problem.detail,
            });
        }
    }

    /// What tells this outcome from another one of the same body.
    pub(crate) fn outcome(&self) -> Vec<u8> {
        let lines = self.named.iter().filter_map(|fault| fault.line);
        std::iter::once(self.count).chain(lines).flat_map(u64::to_be_bytes).collect()
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The named ones, for the answer of a request that skips the faulty entries.
    pub(crate) fn into_named(self) -> Vec<ProblemError> {
        self.named
    }

    /// The problem of a request that is all or nothing. Faults of one kind keep
    /// their status; different ones are 422.
    pub(crate) fn into_problem(self, entries: u64, what: &str) -> Problem {
        let first = self.named.first().cloned().unwrap_or_default();
        let detail = format!(
            "{} of {entries} {what} refused, nothing was accepted; first, in line {}: {}{}",
            self.count,
            first.line.unwrap_or_default(),
            first.detail,
            if self.count > NAMED_MAX as u64 {
                format!(" (the first {NAMED_MAX} are named)")
            } else {
                String::new()
            },
        );
        let (status, slug) = match self.shared {
            Some((status, slug)) if !self.differ => (status, slug),
            _ => (422, "invalid".to_owned()),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY);
        let problem = Problem::new(status, &slug, detail).with_errors(self.named);
        if first.pointer.is_empty() { problem } else { problem.at(first.pointer) }
    }
}
