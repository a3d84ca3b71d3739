//! What goes wrong, as problems. Every slug is described in `docs/problems.md`.

use axum::http::StatusCode;
use orderwire_api::Problem;
use orderwire_api::problem::ProblemError;
use orderwire_store::orders::Refusal;
use orderwire_types::Fault;

use crate::provisioner::AcceptError;

/// A field that is wrong.
pub(super) fn invalid(pointer: &str, detail: impl Into<String>) -> Problem {
    Fault::invalid(pointer, detail).into()
}

/// Why an order was not taken.
pub(super) fn of_accept(error: AcceptError) -> Problem {
    match error {
        AcceptError::Invalid(faults) => of_faults(faults),
        AcceptError::Refused(refusal) => of_refusal(&refusal),
        AcceptError::Store(error) => Problem::of_store(error),
    }
}

/// Several fields that are wrong: the first in full, and all of them by name.
fn of_faults(faults: Vec<Fault>) -> Problem {
    let errors: Vec<ProblemError> = faults
        .iter()
        .map(|fault| ProblemError {
            line: None,
            pointer: fault.pointer.clone(),
            detail: fault.detail.clone(),
        })
        .collect();
    let Some(first) = faults.into_iter().next() else {
        return Problem::internal("an order was refused without a reason");
    };
    let problem = Problem::from(first);
    if errors.len() > 1 { problem.with_errors(errors) } else { problem }
}

/// An order contradicts what is there.
pub(super) fn of_refusal(refusal: &Refusal) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        Refusal::Missing(_) | Refusal::NoRevision { .. } => Problem::not_found(detail),
        Refusal::Exists(_) => Problem::new(StatusCode::CONFLICT, "release-exists", detail),
        Refusal::OtherProduct { .. } | Refusal::OtherNamespace { .. } => {
            Problem::new(StatusCode::CONFLICT, "release-differs", detail)
        }
        Refusal::TakenByClient(_) | Refusal::TakenByEnvironment { .. } => {
            Problem::new(StatusCode::CONFLICT, "namespace-taken", detail)
        }
        Refusal::OtherContent => Problem::new(
            StatusCode::CONFLICT,
            "idempotency-conflict",
            "this Idempotency-Key was used before for another order; take a new key for a new order",
        ),
    }
}
