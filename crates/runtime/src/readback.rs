//! Rows back to who wrote them: the gateway asks, the query side answers.

use async_trait::async_trait;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use orderwire_api::Caller;
use orderwire_gateway::{Expected, Readback};
use orderwire_types::{Client, EventId};
use uuid::Uuid;

/// The query side as the gateway knows it.
pub(crate) struct Recorded(pub(crate) orderwire_query::Readback);

#[async_trait]
impl Readback for Recorded {
    async fn expect(
        &self,
        caller: &Caller,
        client: &Client,
        dataset: &str,
        select: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Box<dyn Expected>, Response> {
        match self.0.expect(caller, client, dataset, select, headers).await {
            Ok(expected) => Ok(Box::new(Rows(expected))),
            Err(error) => Err(error.into_response()),
        }
    }
}

struct Rows(orderwire_query::Expected);

#[async_trait]
impl Expected for Rows {
    async fn rows(&self, event: EventId, trace: Uuid, count: u64) -> Option<Response> {
        match self.0.rows(event, trace, count).await {
            Ok(response) => response,
            // The rows are durable: an error would have the caller write them once more.
            Err(error) => {
                tracing::warn!(%error, "rows that were written cannot be read back as it was asked for");
                None
            }
        }
    }
}
