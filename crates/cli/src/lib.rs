//! Commands over the HTTP API.
