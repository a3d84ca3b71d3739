//! Wire requests and responses, problem+json, OpenAPI.
