//! From checked events to the 202.

use async_trait::async_trait;
use axum::http::HeaderMap;
use orderwire_api::extract::idempotency_key;
use orderwire_api::{Caller, Problem};
use orderwire_queue::{Error, NamedRequest, Publication, Published, PublishedEvent, Queues};
use orderwire_store::Link;
use orderwire_types::envelope::Incoming;
use orderwire_types::{Client, Right, Scope, TraceId, identity};
use sha2::{Digest, Sha256};

use crate::announce::announcements;
use crate::causes::link_of;
use crate::faults::Faults;
use crate::problems::of_queue;
use crate::state::State;

/// The way of events from the gateway to their queues: straight into them, or through a
/// broker.
#[async_trait]
pub trait Outlet: Send + Sync + 'static {
    /// Makes events durable, as [`Queues::publish`] does: on the queues, or on their way
    /// there.
    ///
    /// # Errors
    /// Those of [`Queues::publish`], with their meaning. `Unconfirmed` also: some of the
    /// events are there, or may be.
    async fn publish(&self, scope: &Scope, publication: Publication) -> Result<Published, Error>;
}

#[async_trait]
impl Outlet for Queues {
    async fn publish(&self, scope: &Scope, publication: Publication) -> Result<Published, Error> {
        Queues::publish(self, scope, publication).await
    }
}

/// Makes events durable (straight on their queues: together or not at all), and with them
/// the announcements of clients that are new. One answer per event.
pub(crate) async fn publish(
    state: &State,
    caller: &Caller,
    mut events: Vec<Incoming>,
    request: Option<NamedRequest>,
) -> Result<Vec<PublishedEvent>, Problem> {
    let count = events.len();
    for Incoming { event, .. } in &mut events {
        event.may_order = caller.scope.may(Right::Order) && caller.scope.covers(&event.client);
    }
    let news = announcements(state, events.iter().map(|incoming| &incoming.event)).await;
    // Those of announcements say nothing new, and each would cost a commit of the store.
    let links: Vec<Link> = events.iter().filter_map(|incoming| link_of(&incoming.event)).collect();
    events.extend(news);
    let new: Vec<Client> = events[count..].iter().map(|new| new.event.client.clone()).collect();
    let published = state.gateway.outlet.publish(&caller.scope, Publication { events, request }).await;
    let mut published = published.map_err(|err| of_queue(&err))?.events;
    published.truncate(count);
    links.into_iter().for_each(|link| state.gateway.causes.note(link));
    if !new.is_empty() {
        state.known_clients.add(new);
    }
    metrics::counter!("orderwire_events_accepted_total").increment(count as u64);
    Ok(published)
}

/// Where the trace of an answer is found.
pub(crate) fn status_url(trace: &TraceId) -> String {
    format!("/v1/traces/{}", trace.id.hyphenated())
}

/// The same name for a request of which a part was refused. A dataset that was
/// made meanwhile can let the same body through in full: another outcome,
/// which must not be answered as if it had been stored the first time.
pub(crate) fn with_outcome(request: Option<NamedRequest>, faults: &Faults) -> Option<NamedRequest> {
    let request = request?;
    if faults.is_empty() {
        return Some(request);
    }
    let hash = Sha256::new().chain_update(request.fingerprint).chain_update(faults.outcome()).finalize();
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&hash[..16]);
    Some(NamedRequest { fingerprint, ..request })
}

/// The name that the header `Idempotency-Key` gives to a request. `parts` are
/// all that makes it this request and no other.
///
/// # Errors
/// 422 when the header is not 1 to 255 visible ASCII characters.
pub(crate) fn named_request(
    headers: &HeaderMap,
    caller: &Caller,
    route: &str,
    parts: &[&[u8]],
) -> Result<Option<NamedRequest>, Problem> {
    let Some(key) = idempotency_key(headers)? else { return Ok(None) };
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&hash.finalize()[..16]);
    Ok(Some(NamedRequest { id: identity::request_id(&caller.scope.principal, route, key), fingerprint }))
}
