//! What an edge turns into a status code: faults of input (what is wrong, where, and of
//! which kind), and failures of what is behind the edge.

/// The kinds of fault that an edge turns into a status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// Not JSON, not UTF-8, not the announced form: 400.
    Malformed,
    /// Larger than a limit: 413.
    TooLarge,
    /// A field is wrong: 422.
    Invalid,
    /// Outside the caller's rights: 403.
    Forbidden,
}

/// One fault of an input document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Fault {
    /// Which kind, and so which status.
    pub kind: FaultKind,
    /// The RFC 6901 pointer of the faulty value; empty for the whole document.
    pub pointer: String,
    /// What is wrong, as one clear sentence fragment.
    pub detail: String,
}

impl Fault {
    /// A field that is wrong.
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: FaultKind::Invalid, pointer: pointer.into(), detail: detail.into() }
    }

    /// A document that cannot be read.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self { kind: FaultKind::Malformed, pointer: String::new(), detail: detail.into() }
    }

    /// A document or value over a limit.
    pub fn too_large(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { kind: FaultKind::TooLarge, pointer: pointer.into(), detail: detail.into() }
    }
}

/// The kinds of failure, each with one meaning at every edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// No such object (or it is outside the scope): 404.
    NotFound,
    /// What is asked contradicts what is there: 409.
    Conflict,
    /// A value, column or definition is wrong: 422.
    Invalid,
    /// A query took longer or more than it may: 504.
    TooCostly,
    /// Nothing can be answered or promised now. Nothing was changed; the same call may
    /// succeed later: 503.
    Unavailable,
    /// The stored data is damaged: nothing more is written until someone looks: 503.
    Damaged,
}

/// A failure of what is behind an edge; its text says what failed.
pub trait Failure: std::fmt::Display {
    /// Which kind, and so which status.
    fn kind(&self) -> FailureKind;
}
