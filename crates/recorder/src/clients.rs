//! The handler of the queue `clients`.

use std::sync::Arc;

use async_trait::async_trait;
use orderwire_queue::Clock;
use orderwire_store::{ClientChange, Clients, ErrorKind};
use orderwire_types::step::{Millis, Step, TraceRecord};
use orderwire_types::{Data, Event, RawJson};
use orderwire_worker::{Task, TaskHandler, Verdict};

/// Applies changes of clients.
pub struct ClientChanges {
    clients: Arc<dyn Clients>,
    clock: Clock,
}

impl ClientChanges {
    /// Applies what the queue `clients` carries.
    pub fn new(clients: Arc<dyn Clients>, clock: Clock) -> Self {
        Self { clients, clock }
    }

    /// The change that an event asks for: its data is an object whose members
    /// are set (`null` removes one); `client` names the client and is no member.
    fn change(&self, task: &Task) -> Result<ClientChange, String> {
        let event: &Event = &task.event;
        let attributes = match &event.data {
            Data::None => RawJson::parse("{}".to_owned()),
            Data::Json(data) => without_client(data),
            Data::Base64(_) => return Err("the change of a client is not JSON".to_owned()),
        };
        let attributes =
            attributes.map_err(|error| format!("the change of a client is no JSON object: {error}"))?;
        let now = self.clock.now();
        let step = Step {
            event_id: Some(event.id.0),
            attempt: Some(task.delivery.attempt),
            duration_ms: Some(Millis::between(event.accepted_at, now)),
            detail: Some(format!("client {}", event.client)),
            ..Step::ok(now, "recorder", "recorded")
        };
        Ok(ClientChange {
            client: event.client.clone(),
            event_id: event.id,
            at: event.accepted_at,
            trace: event.trace.id,
            attributes,
            steps: TraceRecord { trace: event.trace.id, client: event.client.clone(), steps: vec![step] },
        })
    }
}

/// The object without its member `client`, values as they are.
fn without_client(data: &RawJson) -> Result<RawJson, serde_json::Error> {
    let mut members: std::collections::BTreeMap<String, RawJson> = serde_json::from_str(data.get())?;
    members.remove("client");
    RawJson::of(&members)
}

#[async_trait]
impl TaskHandler for ClientChanges {
    async fn handle(&self, task: &Task) -> Verdict {
        let change = match self.change(task) {
            Ok(change) => change,
            Err(cause) => return Verdict::Fail { cause },
        };
        match self.clients.change_clients(&[change]).await {
            Ok(()) => Verdict::Ack,
            Err(error) if error.kind() == ErrorKind::Invalid => Verdict::Fail { cause: error.to_string() },
            Err(error) => Verdict::Retry { after: None, cause: error.to_string() },
        }
    }
}
