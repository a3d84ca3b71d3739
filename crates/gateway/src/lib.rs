//! HTTP in: identity, validation, idempotency, publish.
