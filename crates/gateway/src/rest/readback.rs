//! Rows back to who wrote them: what the gateway needs of whoever reads.

use async_trait::async_trait;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use orderwire_api::rest::Refusal;
use orderwire_api::{Caller, Problem};
use orderwire_types::{Client, EventId};
use uuid::Uuid;

/// Reads rows back that callers ask for with what they write. The gateway itself reads none.
#[async_trait]
pub trait Readback: Send + Sync + 'static {
    /// What a caller asks for that is about to write rows of a client, before they are written.
    ///
    /// # Errors
    /// The answer to a caller that may not, or asks for what is not there.
    async fn expect(
        &self,
        caller: &Caller,
        client: &Client,
        dataset: &str,
        select: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Box<dyn Expected>, Response>;
}

/// Rows that are about to be written.
#[async_trait]
pub trait Expected: Send + Sync {
    /// The answer with the rows of this event once they are recorded; `None` when that takes
    /// too long, or they are too many.
    async fn rows(&self, event: EventId, trace: Uuid, count: u64) -> Option<Response>;
}

/// Where nobody is asked for rows: what comes by other ways than HTTP.
pub(crate) struct NoReadback;

#[async_trait]
impl Readback for NoReadback {
    async fn expect(
        &self,
        _: &Caller,
        _: &Client,
        _: &str,
        _: Option<&str>,
        _: &HeaderMap,
    ) -> Result<Box<dyn Expected>, Response> {
        Err(Refusal::from(Problem::unavailable("rows are not read back here")).into_response())
    }
}
