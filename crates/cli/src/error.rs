//! Why a command did not succeed: one sentence for people, a code for scripts.

use std::fmt;

use orderwire_api::Problem;
use orderwire_api::problem::ProblemError;
use serde::Serialize;

use crate::exit;

/// How many faults are shown one by one.
const SHOWN_MAX: usize = 20;

/// The kinds of failure; each has an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// None of the others.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// What was asked for does not exist.
    NotFound,
    /// No key, a wrong one, or one without the right.
    NotAllowed,
    /// The state of what is there forbids it.
    Conflict,
    /// No server answers, or it cannot do this now: trying again may help.
    Unavailable,
    /// The input is wrong.
    Invalid,
    /// Whoever read the output has gone, as `head` does. No failure.
    Closed,
}

impl ErrorKind {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Failed => exit::FAILED,
            Self::Usage => exit::USAGE,
            Self::NotFound => exit::NOT_FOUND,
            Self::NotAllowed => exit::NOT_ALLOWED,
            Self::Conflict => exit::CONFLICT,
            Self::Unavailable => exit::UNAVAILABLE,
            Self::Invalid => exit::INVALID,
            Self::Closed => exit::OK,
        }
    }

    /// The kind that a status of an answer means.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::NotAllowed,
            404 => Self::NotFound,
            409 | 412 => Self::Conflict,
            429 | 503 => Self::Unavailable,
            400 | 413 | 415 | 422 | 428 => Self::Invalid,
            _ => Self::Failed,
        }
    }
}

/// Why a command did not succeed.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    faults: Vec<ProblemError>,
    problem: Option<Box<Problem>>,
    reported: bool,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), faults: Vec::new(), problem: None, reported: false }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Everything has been said already; only the code is left.
    pub(crate) fn reported(kind: ErrorKind) -> Self {
        Self { reported: true, ..Self::new(kind, "") }
    }

    /// Writing the output failed.
    pub(crate) fn output(error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(ErrorKind::Closed, "the reader of the output has gone");
        }
        Self::failed(format!("cannot write the output: {error}"))
    }

    /// A problem that the server answered with.
    pub(crate) fn from_problem(problem: Problem) -> Self {
        let mut message = problem.detail.clone();
        // Without a pointer, or with that of the whole, there is no place to name.
        if let Some(pointer) = problem.pointer.as_deref().filter(|pointer| !pointer.is_empty()) {
            message.push_str(&format!(" (at {pointer})"));
        }
        if problem.status == 401 {
            message.push_str("; name a valid key with --key or ORDERWIRE_API_KEY");
        }
        Self {
            kind: ErrorKind::of_status(problem.status),
            message,
            faults: problem.errors.clone(),
            problem: Some(Box::new(problem)),
            reported: false,
        }
    }

    /// Puts another sentence in front of the faults.
    pub(crate) fn saying(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Lists every fault.
    pub(crate) fn with_faults(mut self, faults: Vec<ProblemError>) -> Self {
        self.faults = faults;
        self
    }

    /// Which kind; decides the exit code.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the server answered, if it did.
    pub fn problem(&self) -> Option<&Problem> {
        self.problem.as_deref()
    }

    /// The faults of the input, one by one.
    pub fn faults(&self) -> &[ProblemError] {
        &self.faults
    }

    /// Writes it to stderr, once, and gives the exit code.
    pub(crate) fn report(&self, json: bool) -> u8 {
        let code = self.kind.code();
        if self.kind == ErrorKind::Closed || self.reported {
            return code;
        }
        if json {
            let shown = Shown {
                code,
                kind: self.kind,
                message: &self.message,
                faults: &self.faults,
                problem: self.problem(),
            };
            eprintln!("{}", serde_json::to_string(&shown).expect("an error is serialisable"));
        } else {
            eprintln!("orderwire: {self}");
        }
        code
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    code: u8,
    kind: ErrorKind,
    message: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    faults: &'a [ProblemError],
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a Problem>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::out::plain(&self.message))?;
        for fault in self.faults.iter().take(SHOWN_MAX) {
            f.write_str("\n  ")?;
            if let Some(line) = fault.line {
                write!(f, "line {line}: ")?;
            }
            if !fault.pointer.is_empty() {
                write!(f, "{}: ", crate::out::plain(&fault.pointer))?;
            }
            f.write_str(&crate::out::plain(&fault.detail))?;
        }
        if self.faults.len() > SHOWN_MAX {
            write!(f, "\n  and {} more", self.faults.len() - SHOWN_MAX)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_their_codes() {
        let codes: Vec<u8> = [400, 401, 403, 404, 409, 412, 413, 415, 422, 428, 429, 500, 503]
            .into_iter()
            .map(|status| ErrorKind::of_status(status).code())
            .collect();
        assert_eq!(codes, [7, 4, 4, 3, 5, 5, 7, 7, 7, 7, 6, 1, 6]);
    }

    #[test]
    fn the_help_names_every_code() {
        for code in [0, 1, 2, 3, 4, 5, 6, 7] {
            assert!(exit::HELP.contains(&format!("\n  {code}  ")), "{code}");
        }
    }

    #[test]
    fn many_faults_are_cut_and_counted() {
        let fault = |line| ProblemError { line: Some(line), pointer: "/a".into(), detail: "is wrong".into() };
        let error = Error::invalid("rows are faulty").with_faults((1..=25).map(fault).collect());
        let text = error.to_string();
        assert!(text.starts_with("rows are faulty\n  line 1: /a: is wrong\n"), "{text}");
        assert!(text.ends_with("line 20: /a: is wrong\n  and 5 more"), "{text}");
    }
}
