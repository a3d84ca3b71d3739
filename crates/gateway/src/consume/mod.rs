//! Consumers that hold a connection open: deliveries are pushed to them.
//!
//! [`sse`] hands out what settlements free; they come by the usual calls.
//! [`ws`] hands out against credit; settlements come the same way.

pub(crate) mod sse;
mod talk;
pub(crate) mod ws;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use metrics::{Counter, Gauge};
use orderwire_api::places::{Full, Place};
use orderwire_api::{Authenticator, Caller, Problem};
use orderwire_queue::Consumer;
use orderwire_types::queue::Format;
use orderwire_types::{QueueName, Right, Scope};

use crate::problems::{invalid, of_queue, queue_name};
use crate::state::Shared;

/// How long a lease is, unless the consumer says otherwise: longer than that of a
/// call, because some deliveries wait at the consumer for those before them.
const LEASE_MS: u64 = 60_000;
/// How often a sign of life is sent, and the key looked at again.
const BEAT: Duration = Duration::from_secs(15);
/// When a consumer that found no place may try again, in seconds.
const TRY_AGAIN: u32 = 5;

/// How many deliveries went out, by their way.
pub(crate) struct HandedOut {
    pub(crate) lease: Counter,
    sse: Counter,
    websocket: Counter,
}

impl HandedOut {
    pub(crate) fn new() -> Self {
        let counter = |transport: &'static str| metrics::counter!("orderwire_deliveries_handed_out_total", "transport" => transport);
        Self { lease: counter("lease"), sse: counter("sse"), websocket: counter("websocket") }
    }
}

/// Who consumes, and with which key: it may be revoked while the connection lasts.
struct Credentials {
    authenticator: Arc<dyn Authenticator>,
    key: String,
    headers: HeaderMap,
}

impl Credentials {
    /// The caller, and the scope of what it is handed.
    ///
    /// # Errors
    /// 401 and 403, as for any call; 503 when that cannot be known now.
    async fn check(&self) -> Result<(Caller, Arc<Scope>), Problem> {
        let caller = Caller { scope: self.authenticator.authenticate(&self.key).await? };
        caller.require(Right::Consume)?;
        let scope = caller.narrowed(&self.headers)?;
        Ok((caller, scope))
    }

    /// Whether the key is still good.
    ///
    /// # Errors
    /// Why it is not. That this cannot be known now ends nothing.
    async fn check_again(&self) -> Result<(), Problem> {
        match self.check().await {
            Err(problem) if problem.status < 500 => Err(problem),
            _ => Ok(()),
        }
    }
}

/// A consumer that was let in.
struct Opened {
    state: Shared,
    credentials: Credentials,
    caller: Caller,
    name: QueueName,
    format: Format,
    lease_ms: u64,
    consumer: Consumer,
}

impl Opened {
    /// Checks everything that does not depend on the transport.
    fn new(
        state: Shared,
        credentials: Credentials,
        (caller, scope): (Caller, Arc<Scope>),
        name: &str,
        lease_ms: Option<u64>,
    ) -> Result<Self, Problem> {
        let lease_ms = lease_ms.unwrap_or(LEASE_MS);
        if lease_ms == 0 {
            return Err(invalid("", "the query of the URL: lease_ms must be at least 1"));
        }
        let name = queue_name(name)?;
        let queues = state.queues();
        let format = queues.definition(&scope, &name).map_err(|err| of_queue(&err))?.format;
        let lease = Duration::from_millis(lease_ms);
        let consumer = queues.consumer(&scope, &name, lease).map_err(|err| of_queue(&err))?;
        Ok(Self { state, credentials, caller, name, format, lease_ms, consumer })
    }

    /// One of the places of consumers.
    ///
    /// # Errors
    /// 429 when the key has as many as one may have, 503 when all are taken.
    fn place(&self, transport: &'static str) -> Result<Stay, Problem> {
        let place = self.state.gateway.connections.take(&self.caller.scope.principal);
        let place = place.map_err(|full| match full {
            Full::Own => Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-connections",
                "this key holds as many consumers' connections as one may; close some, or let one consumer have more deliveries",
            ),
            Full::All => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "as many consumers hold connections as the server allows; try again later, or lease with a call",
            ),
        });
        Ok(Stay::new(place.map_err(|problem| problem.retry_after(TRY_AGAIN))?, transport))
    }
}

/// A consumer is there, as long as this is.
struct Stay {
    gauge: Gauge,
    _place: Place,
}

impl Stay {
    fn new(place: Place, transport: &'static str) -> Self {
        let gauge = metrics::gauge!("orderwire_consumer_connections", "transport" => transport);
        gauge.increment(1);
        Self { gauge, _place: place }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.gauge.decrement(1);
    }
}
