//! Clients announce themselves by their first event: the event that registers
//! them travels in the same commit.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use orderwire_types::envelope::Incoming;
use orderwire_types::scope::Clients;
use orderwire_types::{Client, Data, Event, EventType, Origin, RawJson, Scope, identity};
use tokio::time::Instant;

use crate::state::State;

/// How many clients are known to be registered; beyond it all are forgotten
/// and looked up anew.
const KNOWN_MAX: usize = 100_000;
/// The most clients that one request looks up; more are announced unseen.
const LOOK_UPS_MAX: usize = 64;
/// How long all look-ups of one request may take.
const LOOK_UPS_TIME: Duration = Duration::from_secs(1);
/// Who says that a client changed.
const SOURCE: &str = "/orderwire/gateway";

/// Clients that need no announcement any more.
#[derive(Default)]
pub(crate) struct KnownClients(RwLock<HashSet<Client>>);

impl KnownClients {
    fn has(&self, client: &Client) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(client)
    }

    /// Notes clients whose announcement is durable.
    pub(crate) fn add(&self, clients: impl IntoIterator<Item = Client>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for client in clients {
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            known.insert(client);
        }
    }
}

/// The announcements that have to travel with these events: one for each client
/// that this process has not seen and the store does not know.
pub(crate) async fn announcements<'e>(
    state: &State,
    events: impl Iterator<Item = &'e Event>,
) -> Vec<Incoming> {
    let mut news: Vec<Incoming> = Vec::new();
    let mut seen: HashSet<&Client> = HashSet::new();
    let mut look_ups = 0;
    let until = Instant::now() + LOOK_UPS_TIME;
    for event in events {
        if state.known_clients.has(&event.client) || !seen.insert(&event.client) {
            continue;
        }
        look_ups += 1;
        let registered = look_ups <= LOOK_UPS_MAX && is_registered(state, &event.client, until).await;
        if registered {
            state.known_clients.add([event.client.clone()]);
        } else {
            news.push(Incoming { event: announcement(event), named: true });
        }
    }
    if !news.is_empty() && state.queues().route(&news[0].event.event_type).is_empty() {
        return Vec::new();
    }
    news
}

/// Whether the store knows the client. A store that is away is no reason to
/// refuse an event, and to announce a client again changes nothing.
async fn is_registered(state: &State, client: &Client, until: Instant) -> bool {
    let scope = Scope { clients: Clients::Only([client.clone()].into()), ..Scope::internal("gateway") };
    let looked = tokio::time::timeout_at(until, state.store().client(&scope, client)).await;
    matches!(looked, Ok(Ok(Some(_))))
}

/// The event that registers the client of this one. The same for a client every time,
/// so that to publish it again within a day changes nothing. For what becomes known of
/// a client without passing through the gateway: an order.
pub fn announcement(event: &Event) -> Event {
    let event_type: EventType = "orderwire.client.changed".parse().expect("a valid type");
    let data = RawJson::of(&serde_json::json!({ "client": event.client.as_str() }));
    Event {
        id: identity::own_id("gateway", &event.client, "seen"),
        event_type,
        source: SOURCE.to_owned(),
        client: event.client.clone(),
        key: None,
        time: None,
        trace: event.trace.clone(),
        attempt: None,
        cause: Some(event.id),
        accepted_at: event.accepted_at,
        principal: "gateway".to_owned(),
        may_order: false,
        depth: event.depth,
        import: None,
        origin: Origin::Plain,
        data: Data::Json(data.expect("an object of one text is JSON")),
    }
}
