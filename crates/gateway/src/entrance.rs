//! Events in that do not come over HTTP: from the queues of a broker.

use std::collections::HashMap;

use orderwire_broker::{Capabilities, Received, SigningKey};
use orderwire_queue::Arrived;
use orderwire_types::envelope::{Arrival, Incoming, from_flat, from_json};
use orderwire_types::{Client, Event, EventType, Fault, QueueName, Right, Scope};
use uuid::Uuid;

use crate::announce::announcements;
use crate::events::Admission;
use crate::state::{Gateway, Shared, State};
use crate::unusable::{KEPT_OF_TOO_LARGE, unusable};

/// Who speaks through a queue of the broker, and in which form.
#[derive(Clone, Debug)]
pub struct Input {
    /// The principal of messages that no gateway of this installation signed.
    pub scope: Scope,
    /// The type of messages that say none. With it, an object that is neither a CloudEvent
    /// nor message-attributes is the flat form.
    pub event_type: Option<EventType>,
}

/// Checks what comes through a broker as the gateway checks what comes over HTTP.
pub struct Entrance {
    state: Shared,
    key: SigningKey,
    inputs: HashMap<QueueName, Input>,
    /// Whether messages come whose type their queue does not take.
    sifts: bool,
}

impl Entrance {
    /// An entrance with these inputs, one for each queue that is asked about, for a broker
    /// of these capabilities.
    pub fn new(
        gateway: Gateway,
        key: SigningKey,
        inputs: HashMap<QueueName, Input>,
        capabilities: Capabilities,
    ) -> Self {
        Self { state: State::new(gateway), key, inputs, sifts: !capabilities.routes_by_pattern }
    }

    /// What a message is to a queue; `None`: the queue does not take its type.
    pub fn read(&self, queue: &QueueName, message: &Received) -> Option<Arrived> {
        let input = self.inputs.get(queue)?;
        // By which type it was published, where it found the queue by its type.
        let event_type = message.event_type.as_deref().and_then(|text| text.parse::<EventType>().ok());
        if let Some(event_type) = &event_type
            && self.sifts
            && !self.state.queues().route(event_type).contains(queue)
        {
            return None;
        }
        let read = match self.key.event(message) {
            Some(signed) => signed.map_err(|fault| say(&fault)).and_then(|event| self.signed(queue, event)),
            None => self.foreign(input, event_type.as_ref(), message),
        };
        Some(match read {
            Ok(incoming) => Arrived { incoming, rejected: None },
            Err(cause) => Arrived {
                incoming: unusable(
                    event_type.or_else(|| input.event_type.clone()),
                    &message.body,
                    self.arrival(input, message),
                ),
                rejected: Some(cause),
            },
        })
    }

    /// Registers the clients that events are of, where they are new. A queue that is full
    /// must not keep events from theirs: the client is announced by its next event then.
    ///
    /// # Errors
    /// When their announcements cannot be made durable now.
    pub async fn announce(&self, arrived: &[Arrived]) -> Result<(), String> {
        let usable = arrived.iter().filter(|arrived| arrived.rejected.is_none());
        let events = announcements(&self.state, usable.map(|arrived| &arrived.incoming.event)).await;
        if events.is_empty() {
            return Ok(());
        }
        let clients: Vec<Client> = events.iter().map(|new| new.event.client.clone()).collect();
        let scope = Scope::internal("gateway");
        let missed = self.state.queues().publish_where_room(&scope, events).await;
        if missed.map_err(|error| error.to_string())?.is_empty() {
            self.state.known_clients.add(clients);
        }
        Ok(())
    }

    /// The event of a message of this installation. The signature does not say for which
    /// queue it was made: its rights must not be carried into another one.
    fn signed(&self, queue: &QueueName, event: Event) -> Result<Incoming, String> {
        if self.state.queues().route(&event.event_type).contains(queue) {
            return Ok(Incoming { event, named: true });
        }
        Err(format!("queue {queue} does not take signed events of the type {}", event.event_type))
    }

    /// The event of a message of another producer; or why it is none.
    fn foreign(
        &self,
        input: &Input,
        event_type: Option<&EventType>,
        message: &Received,
    ) -> Result<Incoming, String> {
        let limits = self.state.limits();
        if message.body.len() > limits.body_bytes {
            return Err(format!(
                "the message has {} bytes, at most {} are taken; of it the first {KEPT_OF_TOO_LARGE} are kept",
                message.body.len(),
                limits.body_bytes
            ));
        }
        let arrival =
            Arrival { event_type: event_type.or(input.event_type.as_ref()), ..self.arrival(input, message) };
        let read = match (&input.event_type, is_flat(&message.body)) {
            (Some(event_type), true) => from_flat(&message.body, event_type, &arrival),
            _ => from_json(&message.body, &arrival),
        };
        let mut incoming = read.map_err(|fault| say(&fault))?;
        let event = &mut incoming.event;
        Admission::by_queue(&self.state, &input.scope).admit(event).map_err(|problem| {
            match problem.pointer.as_deref() {
                None | Some("") => problem.detail.clone(),
                Some(pointer) => format!("{pointer}: {}", problem.detail),
            }
        })?;
        event.may_order = input.scope.may(Right::Order) && input.scope.covers(&event.client);
        Ok(incoming)
    }

    fn arrival<'a>(&'a self, input: &'a Input, message: &'a Received) -> Arrival<'a> {
        Arrival {
            principal: &input.scope.principal,
            client: input.scope.own_client(),
            event_type: None,
            source: None,
            traceparent: message.header("traceparent"),
            message_id: message.id.as_deref(),
            request: None,
            now: self.state.now(),
            new_id: Uuid::now_v7(),
            limits: self.state.limits(),
        }
    }
}

/// Whether a body is an object that is neither a CloudEvent nor message-attributes.
fn is_flat(body: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(body) else { return false };
    orderwire_types::envelope::is_flat(text)
}

fn say(fault: &Fault) -> String {
    match fault.pointer.as_str() {
        "" => fault.detail.clone(),
        pointer => format!("{pointer}: {}", fault.detail),
    }
}
