//! Faults of input: what is wrong, where, and of which kind.

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
