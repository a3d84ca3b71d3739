//! Errors of the layers below as problems. Every slug is described in
//! `docs/problems.md`.

use axum::http::StatusCode;
use orderwire_api::Problem;
use orderwire_api::problem::shown;
use orderwire_queue as queue;
use orderwire_types::{Fault, QueueName};

/// A field that is wrong.
pub(crate) fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Problem {
    Fault::invalid(pointer, detail).into()
}

/// A body that cannot be read.
pub(crate) fn malformed(detail: impl Into<String>) -> Problem {
    Fault::malformed(detail).into()
}

/// A body or a part of it over a limit.
pub(crate) fn too_large(detail: impl Into<String>) -> Problem {
    Fault::too_large("", detail).into()
}

/// An event that no queue takes.
pub(crate) fn unroutable(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unroutable", detail)
}

/// A body in a form that the route does not take.
pub(crate) fn unsupported(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)
}

/// The name in a path is of no queue.
pub(crate) fn queue_name(text: &str) -> Result<QueueName, Problem> {
    text.parse().map_err(|_| Problem::not_found(format!("queue {} does not exist", shown(text))))
}

/// What went wrong in the queue.
pub(crate) fn of_queue(error: &queue::Error) -> Problem {
    let detail = error.to_string();
    match error.kind() {
        queue::ErrorKind::NotFound => Problem::not_found(detail),
        queue::ErrorKind::Conflict => Problem::conflict(detail),
        queue::ErrorKind::IdempotencyConflict => {
            Problem::new(StatusCode::CONFLICT, "idempotency-conflict", detail)
        }
        queue::ErrorKind::Unroutable => unroutable(detail),
        queue::ErrorKind::Full => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "queue-full", detail).retry_after(5)
        }
        queue::ErrorKind::TooLarge => too_large(detail),
        queue::ErrorKind::Busy => Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail).retry_after(10),
        queue::ErrorKind::LeaseLost => Problem::new(StatusCode::CONFLICT, "lease-lost", detail),
        queue::ErrorKind::Unavailable => {
            tracing::warn!(error = %error, "the queue cannot promise durability");
            Problem::unavailable(detail)
        }
        queue::ErrorKind::Unconfirmed => {
            tracing::warn!(error = %error, "the queue did not confirm a commit");
            let detail = format!(
                "{detail}; whether the call took effect is unknown: with an Idempotency-Key it is safe to repeat"
            );
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "timed-out", detail).retry_after(1)
        }
        queue::ErrorKind::Damaged => Problem::damaged(&detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_happened_is_not_said_to_have_failed() {
        let error = queue::Error::new(queue::ErrorKind::Unconfirmed, "publish: no answer in time");
        let problem = of_queue(&error);
        assert_eq!((problem.status, problem.slug(), problem.retry_after), (503, "timed-out", Some(1)));
        for part in ["no answer in time", "unknown", "Idempotency-Key"] {
            assert!(problem.detail.contains(part), "{}", problem.detail);
        }
        let error = queue::Error::new(queue::ErrorKind::Unavailable, "publish: disk full");
        assert_eq!(of_queue(&error).slug(), "unavailable");
    }
}
