//! The handler of the queue `infra`.

use async_trait::async_trait;
use orderwire_store::ErrorKind;
use orderwire_store::orders::Acceptance;
use orderwire_types::json::nests_at_most;
use orderwire_types::step::{Step, TraceRecord};
use orderwire_types::{Action, Data, Event, Fault};
use orderwire_worker::{Task, TaskHandler, Verdict};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::provisioner::{AcceptError, OrderRequest, Provisioner};
use crate::request::{PARAMETERS_BYTES_MAX, PARAMETERS_DEPTH_MAX, requested_action};

/// The type of an event that is an order and nothing else.
const REQUESTED: &str = "orderwire.order.requested";

/// Makes orders of events.
///
/// An event was accepted and cannot be refused any more: what is wrong with it makes
/// a failed order that says so. One that is no order is passed over, and its trace
/// says why.
pub struct OrderEvents {
    provisioner: Provisioner,
}

impl OrderEvents {
    /// Hands the orders of the queue `infra` to this provisioner.
    pub fn new(provisioner: Provisioner) -> Self {
        Self { provisioner }
    }

    async fn order(&self, event: &Event) -> Verdict {
        let (request, faults) = read(event);
        match self.provisioner.accept_with(request, faults).await {
            Ok(Acceptance::New(_) | Acceptance::Known(_)) => Verdict::Ack,
            Ok(Acceptance::Refused(refusal)) => Verdict::Fail { cause: refusal.to_string() },
            Err(AcceptError::Store(error)) => verdict(&error),
            Err(error) => Verdict::Fail { cause: error.to_string() },
        }
    }

    async fn pass_over(&self, task: &Task, why: String) -> Verdict {
        let event = &task.event;
        let step = Step {
            event_id: Some(event.id.0),
            attempt: Some(task.delivery.attempt),
            detail: Some(why),
            ..Step::ok(self.provisioner.parts.clock.now(), "provisioner", "passed over")
        };
        let record = TraceRecord { trace: event.trace.id, client: event.client.clone(), steps: vec![step] };
        match self.provisioner.parts.store.add_steps(&[record]).await {
            Ok(()) => Verdict::Ack,
            Err(error) => verdict(&error),
        }
    }
}

#[async_trait]
impl TaskHandler for OrderEvents {
    async fn handle(&self, task: &Task) -> Verdict {
        let event = &task.event;
        if event.event_type.as_str() != REQUESTED && event.product().is_none() {
            return self.pass_over(task, "no order: the event names no product".to_owned()).await;
        }
        if !event.may_order {
            let why = format!("no order: {} may not order for client {}", event.principal, event.client);
            return self.pass_over(task, why).await;
        }
        self.order(event).await
    }
}

fn verdict(error: &orderwire_store::Error) -> Verdict {
    match error.kind() {
        ErrorKind::Invalid => Verdict::Fail { cause: error.to_string() },
        _ => Verdict::Retry { after: None, cause: error.to_string() },
    }
}

/// The members of an order, as they were written. A member that is there twice is
/// an error of reading.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Members<'a> {
    #[serde(borrow)]
    product: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    environment: Option<&'a RawValue>,
    #[serde(borrow)]
    archtype: Option<&'a RawValue>,
    #[serde(borrow)]
    hardware: Option<&'a RawValue>,
    #[serde(borrow)]
    namespace: Option<&'a RawValue>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    action: Option<&'a RawValue>,
}

/// What an event asks for, and what of it cannot be read. All three forms have the
/// members of the order in their data.
fn read(event: &Event) -> (OrderRequest, Vec<Fault>) {
    let mut faults = Vec::new();
    let members = match &event.data {
        // serde takes a list for an object as well.
        Data::Json(json) if json.get().starts_with('{') => match serde_json::from_str(json.get()) {
            Ok(members) => members,
            Err(error) => {
                faults.push(Fault::invalid("", format!("the order cannot be read: {}", plain(&error))));
                Members::default()
            }
        },
        _ => {
            faults.push(Fault::invalid("", "an order must be a JSON object"));
            Members::default()
        }
    };
    let unread = !faults.is_empty();
    let mut text = |name: &str, raw: Option<&RawValue>| match serde_json::from_str::<String>(raw?.get()) {
        // Existing producers send what they do not know as empty text.
        Ok(text) => Some(text).filter(|text| !text.is_empty()),
        Err(_) => {
            faults.push(Fault::invalid(format!("/{name}"), format!("{name} must be text")));
            None
        }
    };
    let product = text("product", members.product).or_else(|| event.product().filter(|_| unread));
    let name = text("name", members.name);
    let environment = text("environment", members.environment);
    let archtype = text("archtype", members.archtype);
    let hardware = text("hardware", members.hardware);
    let namespace = text("namespace", members.namespace);
    let action = text("action", members.action);
    let action = requested_action(action.as_deref()).unwrap_or_else(|fault| {
        faults.push(fault);
        Action::Apply
    });
    let parameters = members.parameters.and_then(|raw| match parameters(raw.get()) {
        Ok(parameters) => Some(parameters),
        Err(detail) => {
            faults.push(Fault::invalid("/parameters", detail));
            None
        }
    });
    let request = OrderRequest {
        id: event.id,
        trace: event.trace.clone(),
        client: event.client.clone(),
        product,
        name,
        release: None,
        environment,
        archtype,
        hardware,
        namespace,
        parameters,
        action,
        to_revision: None,
        principal: event.principal.clone(),
        ordered_at: event.accepted_at,
        depth: event.depth,
        is_event: true,
    };
    (request, faults)
}

/// Parameters, measured before they are parsed.
fn parameters(raw: &str) -> Result<Value, String> {
    if raw.len() > PARAMETERS_BYTES_MAX {
        return Err(format!("parameters take {} bytes, at most {PARAMETERS_BYTES_MAX} are taken", raw.len()));
    }
    if !nests_at_most(raw.as_bytes(), PARAMETERS_DEPTH_MAX) {
        return Err(format!("parameters nest deeper than {PARAMETERS_DEPTH_MAX} levels"));
    }
    serde_json::from_str(raw).map_err(|error| format!("parameters cannot be read: {}", plain(&error)))
}

/// What a parser says, without its position, which is that in a part of the event.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}
