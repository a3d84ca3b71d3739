//! From a message to the event that it is, or to why it is none.

use std::fmt::Write as _;

use orderwire_types::envelope::{Arrival, Incoming, from_binary, from_json};
use orderwire_types::topic::Names;
use orderwire_types::{Client, Data, DatasetName, EventType, Fault, QueueName, RawJson, Right};

use super::{Gives, Mapping, TopicMessage, Topics};
use crate::events::Admission;
use crate::rows::ROWS;
use crate::unusable::unusable;

/// The longest topic, in bytes; it is part of the source of its events.
const TOPIC_BYTES_MAX: usize = 1024;
/// Where the dead letters of what no queue takes are.
const FALLBACK: &str = "data";

/// What a message is.
pub(super) enum Reading {
    Passed,
    Event(Incoming),
    Rejected { queue: QueueName, incoming: Incoming, cause: String },
}

impl Topics {
    /// What a message is.
    pub(super) fn read(&self, message: &TopicMessage<'_>) -> Reading {
        let found =
            self.mappings.iter().find_map(|mapping| Some((mapping, mapping.topic.read(message.topic)?)));
        let Some((mapping, names)) = found else { return Reading::Passed };
        let event_type = event_type(mapping, &names);
        let source = self.source(message);
        let cause = match self.event(mapping, &names, event_type.as_ref(), &source, message) {
            Ok(incoming) => return Reading::Event(incoming),
            Err(cause) => cause,
        };
        let event_type = event_type.ok().flatten();
        let queue = event_type.as_ref().map_or_else(fallback, |event_type| self.queue_of(event_type));
        // Of the client that the topic says, if it may; never of one that the message says.
        let client = client(mapping, &names).ok().flatten().filter(|client| self.scope.covers(client));
        let arrival = self.arrival(client, None, &source, message);
        Reading::Rejected { queue, incoming: unusable(event_type, message.body, arrival), cause }
    }

    /// The queue whose dead letters hold what was to be an event of this type.
    pub(super) fn queue_of(&self, event_type: &EventType) -> QueueName {
        self.state.queues().route(event_type).into_iter().next().unwrap_or_else(fallback)
    }

    fn event(
        &self,
        mapping: &Mapping,
        names: &Names<'_>,
        event_type: Result<&Option<EventType>, &String>,
        source: &str,
        message: &TopicMessage<'_>,
    ) -> Result<Incoming, String> {
        if message.topic.len() > TOPIC_BYTES_MAX || message.topic.chars().any(char::is_control) {
            return Err(format!(
                "the topic is longer than {TOPIC_BYTES_MAX} bytes or holds control characters"
            ));
        }
        if let Some(cut) = message.cut {
            return Err(cut.to_owned());
        }
        let event_type = event_type.map_err(Clone::clone)?.as_ref();
        let client = client(mapping, names)?;
        let arrival = self.arrival(client.clone(), event_type, source, message);
        let mut incoming = read_body(message, &arrival).map_err(|fault| say(&fault))?;
        let event = &mut incoming.event;
        if let Some(client) = client.filter(|client| *client != event.client) {
            return Err(format!("the event is of client {}, its topic is of client {client}", event.client));
        }
        if let Some(key) = &mapping.key
            && event.key.is_none()
        {
            event.key = Some(key.fill(names)).filter(|key| !key.is_empty());
        }
        if let Gives::Rows { dataset, columns } = &mapping.gives
            && !columns.is_empty()
            && let Data::Json(rows) = &event.data
        {
            let texts: Vec<(&str, String)> =
                columns.iter().map(|(column, text)| (column.as_str(), text.fill(names))).collect();
            event.data = Data::Json(self.filled(dataset, rows, &texts)?);
        }
        Admission::new(&self.state, &self.scope).admit(event).map_err(|problem| {
            match problem.pointer.as_deref() {
                None | Some("") => problem.detail.clone(),
                Some(pointer) => format!("{pointer}: {}", problem.detail),
            }
        })?;
        event.may_order = self.scope.may(Right::Order) && self.scope.covers(&event.client);
        Ok(incoming)
    }

    /// The rows with the columns of their topic.
    fn filled(
        &self,
        dataset: &DatasetName,
        rows: &RawJson,
        texts: &[(&str, String)],
    ) -> Result<RawJson, String> {
        let reader = self.state.readers.of(&self.state, &self.scope, dataset);
        let reader = reader.ok_or_else(|| format!("dataset {dataset} does not exist"))?;
        let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let filled = reader.filled(rows.get(), &texts).map_err(|fault| say(&fault))?;
        RawJson::parse(filled).map_err(|err| format!("not JSON: {err}"))
    }

    /// Who says so: the connection and the topic.
    fn source(&self, message: &TopicMessage<'_>) -> String {
        let mut source = format!("/{}/", self.scope.principal);
        for byte in message.topic.bytes().take(TOPIC_BYTES_MAX) {
            if byte.is_ascii_alphanumeric() || b"/-._~:@$&'()*+,;=!".contains(&byte) {
                source.push(char::from(byte));
            } else {
                write!(source, "%{byte:02X}").expect("writing to a string cannot fail");
            }
        }
        source
    }

    fn arrival<'a>(
        &'a self,
        client: Option<Client>,
        event_type: Option<&'a EventType>,
        source: &'a str,
        message: &TopicMessage<'a>,
    ) -> Arrival<'a> {
        Arrival {
            principal: &self.scope.principal,
            client: client.unwrap_or_else(|| self.scope.own_client()),
            event_type,
            source: Some(source),
            traceparent: message.traceparent,
            message_id: message.id,
            request: None,
            now: self.state.now(),
            new_id: message.new_id,
            limits: self.state.limits(),
        }
    }
}

/// The event of the body; or of properties and body, where these say that it is one.
fn read_body(message: &TopicMessage<'_>, arrival: &Arrival<'_>) -> Result<Incoming, Fault> {
    let is_attribute =
        |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !message.properties.iter().any(|(name, _)| name == "specversion") {
        return from_json(message.body, arrival);
    }
    let attributes = message.properties.iter().filter(|(name, _)| is_attribute(name));
    // Over HTTP values are percent-encoded, here they are as they are.
    let values: Vec<(&str, String)> = attributes
        .map(|(name, value)| (name.as_str(), value.replace('%', "%25").replace('"', "%22")))
        .collect();
    let attributes = values.iter().map(|(name, value)| (*name, value.as_str()));
    from_binary(attributes, message.content_type, message.body, arrival)
}

/// The type that the mapping gives, if it gives one; or why what the topic says is none.
fn event_type(mapping: &Mapping, names: &Names<'_>) -> Result<Option<EventType>, String> {
    match &mapping.gives {
        Gives::Event => Ok(None),
        Gives::EventOf(text) => text.fill(names).parse().map(Some).map_err(|err| format!("the topic: {err}")),
        Gives::Rows { dataset, .. } => {
            Ok(Some(format!("{ROWS}{dataset}").parse().expect("a dataset's name is a word of a type")))
        }
    }
}

/// The client that the topic says, if it says one; or why it is none.
fn client(mapping: &Mapping, names: &Names<'_>) -> Result<Option<Client>, String> {
    let Some(text) = &mapping.client else { return Ok(None) };
    text.fill(names).parse().map(Some).map_err(|err| format!("the topic: {err}"))
}

fn fallback() -> QueueName {
    FALLBACK.parse().expect("a queue name")
}

fn say(fault: &Fault) -> String {
    match fault.pointer.as_str() {
        "" => fault.detail.clone(),
        pointer => format!("{pointer}: {}", fault.detail),
    }
}
