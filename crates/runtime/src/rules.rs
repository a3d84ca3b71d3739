//! The emitter's place among the others: what it publishes goes to the queues, what it does into the
//! store's traces.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use orderwire_config::{Config, Report};
use orderwire_emitter::{Bounds, Emitter, PublishError, Publisher, Rules};
use orderwire_gateway::announcement;
use orderwire_queue::{Clock, Publication, Queues};
use orderwire_store::{Store, Traces};
use orderwire_types::envelope::{Arrival, Incoming, from_json, minify};
use orderwire_types::{Client, Event, EventType, Limits, Scope};
use uuid::Uuid;

/// The role that handles the queue of rules.
pub(crate) const ROLE: &str = "emitter";

/// What handles the queue of rules; none where there are none.
pub(crate) fn emitter(
    config: &Config,
    limits: &Limits,
    queues: &Queues,
    store: &Arc<dyn Store>,
    clock: &Clock,
) -> Option<Arc<Emitter>> {
    if config.rules.is_empty() {
        return None;
    }
    let rules = Rules::new(config, Bounds::from(limits));
    let publisher = Arc::new(Emissions(queues.clone()));
    let traces: Arc<dyn Traces> = store.clone();
    Some(Arc::new(Emitter::new(rules, publisher, traces, clock.clone())))
}

/// What rules emit goes where all events go.
struct Emissions(Queues);

#[async_trait]
impl Publisher for Emissions {
    async fn publish(&self, events: Vec<Event>, client: &Client) -> Result<(), PublishError> {
        let scope = Scope::internal(ROLE);
        let announcements = announcements(&events, client);
        let publication = Publication { events: named(events), request: None };
        self.0.publish(&scope, publication).await.map_err(|error| unpublished(&error))?;
        // A queue that is full must not keep what rules emit from theirs: the client is
        // announced by the next event that is emitted for it then.
        self.0.publish_where_room(&scope, named(announcements)).await.map_err(|error| unpublished(&error))?;
        Ok(())
    }
}

fn named(events: Vec<Event>) -> Vec<Incoming> {
    events.into_iter().map(|event| Incoming { event, named: true }).collect()
}

fn unpublished(error: &orderwire_queue::Error) -> PublishError {
    PublishError { detail: error.to_string(), is_retryable: error.is_retryable() }
}

/// The events that register the clients other than this one, each once.
fn announcements(events: &[Event], client: &Client) -> Vec<Event> {
    let mut seen: HashSet<&Client> = HashSet::from([client]);
    events.iter().filter(|event| seen.insert(&event.client)).map(announcement).collect()
}

/// Only the emitter knows whether a condition or a template can be read.
pub(crate) fn check(config: &Config, report: &mut Report<'_>) {
    for fault in orderwire_emitter::faults(config) {
        let path: Vec<&str> = fault.path.iter().map(String::as_str).collect();
        report.fault(&path, fault.detail);
    }
}

/// What is tried on rules.
#[derive(Clone, Debug)]
pub struct RuleRequest {
    /// This rule alone, or all.
    pub rule: Option<String>,
    /// The event, in any of its forms.
    pub event: Vec<u8>,
    /// The type of an event that says none.
    pub event_type: Option<String>,
    /// The client of an event that names none; the default client when not named.
    pub client: Option<String>,
}

/// What the rules of this configuration would do with an event, as JSON on one line.
///
/// # Errors
/// What is wrong with the request.
pub fn try_rules(config: &Config, request: &RuleRequest) -> Result<String, String> {
    let only = request.rule.as_deref().map(|name| config.rule(name)).transpose()?;
    let invalid = |error: orderwire_types::names::InvalidName| error.to_string();
    let event_type =
        request.event_type.as_deref().map(str::parse::<EventType>).transpose().map_err(invalid)?;
    let client = request.client.as_deref().map(str::parse::<Client>).transpose().map_err(invalid)?;
    let limits = Limits::from(&config.limits);
    let now = Timestamp::now();
    let arrival = Arrival {
        principal: "sample",
        client: client.unwrap_or_else(Client::default_client),
        event_type: event_type.as_ref(),
        source: None,
        traceparent: None,
        message_id: None,
        request: None,
        now,
        new_id: Uuid::now_v7(),
        limits: &limits,
    };
    let event = from_json(&request.event, &arrival).map_err(|fault| match fault.pointer.as_str() {
        "" => format!("the event cannot be read: {fault}"),
        pointer => format!("the event cannot be read: {pointer}: {fault}"),
    })?;
    let rules = Rules::new(config, Bounds::from(&limits));
    let trials = rules.trial(&event.event, only.map(|(name, _)| name), &config.queue_definitions(), now);
    let text = serde_json::to_string(&trials)
        .map_err(|error| format!("cannot show what rules would do: {error}"))?;
    Ok(minify(&text).into_owned())
}
