//! Events in by the topics of MQTT.

mod read;

use orderwire_queue::{Arrived, Error, ErrorKind, Publication};
use orderwire_types::envelope::Incoming;
use orderwire_types::topic::{TopicPattern, TopicText};
use orderwire_types::{Client, ColumnName, DatasetName, QueueName, Scope};
use uuid::Uuid;

use crate::announce::announcements;
use crate::state::{Gateway, Shared, State};
use read::Reading;

/// What the messages of a topic mean.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The topics that it is for.
    pub topic: TopicPattern,
    /// What becomes of a message.
    pub gives: Gives,
    /// Whose its events are; without it they may say so themselves.
    pub client: Option<TopicText>,
    /// The key of events that say none.
    pub key: Option<TopicText>,
}

/// What becomes of a message.
#[derive(Clone, Debug)]
pub enum Gives {
    /// An event that says its own type.
    Event,
    /// An event of this type.
    EventOf(TopicText),
    /// Rows of a dataset, with what they get that have no such column of their own.
    Rows {
        /// The dataset.
        dataset: DatasetName,
        /// The columns.
        columns: Vec<(ColumnName, TopicText)>,
    },
}

/// A message of a topic.
#[derive(Clone, Copy, Debug)]
pub struct TopicMessage<'m> {
    /// The topic that it was published to.
    pub topic: &'m str,
    /// Its name, if its producer gave it one.
    pub id: Option<&'m str>,
    /// Its W3C trace.
    pub traceparent: Option<&'m str>,
    /// The media type of the body, where its producer said it.
    pub content_type: Option<&'m str>,
    /// What its producer says beside the body. With a `specversion` these are the attributes
    /// of a CloudEvent whose data is the body.
    pub properties: &'m [(String, String)],
    /// The body.
    pub body: &'m [u8],
    /// Why it is not all here, if it is not.
    pub cut: Option<&'m str>,
    /// A fresh version 7 UUID, the identity of an event that nothing names: the same for a
    /// message however often it is tried.
    pub new_id: Uuid,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenAs {
    /// An event.
    Event,
    /// An event that was there already.
    Repeated,
    /// A dead letter.
    Rejected,
    /// No mapping is for its topic.
    Passed,
}

/// Checks what comes by topics as the gateway checks what comes over HTTP, and makes it
/// durable by the way that events take from there.
pub struct Topics {
    state: Shared,
    scope: Scope,
    mappings: Vec<Mapping>,
}

impl Topics {
    /// The topics of one connection, whose messages have this scope. Of the mappings the
    /// first that matches a topic decides.
    pub fn new(gateway: Gateway, scope: Scope, mappings: Vec<Mapping>) -> Self {
        Self { state: State::new(gateway), scope, mappings }
    }

    /// Makes messages durable, in order: as events on their queues, or on their way there,
    /// and what can never be one as a dead letter of the queue that would take it.
    ///
    /// Again for messages that are durable already changes nothing where anything names them.
    ///
    /// # Errors
    /// Why nothing can be promised now, in plain words; the same call may succeed later.
    pub async fn take(&self, messages: &[TopicMessage<'_>]) -> Result<Vec<TakenAs>, String> {
        let mut outcomes = vec![TakenAs::Passed; messages.len()];
        let (mut events, mut places) = (Vec::new(), Vec::new());
        let mut dead: Vec<(QueueName, Arrived)> = Vec::new();
        for (place, message) in messages.iter().enumerate() {
            match self.read(message) {
                Reading::Passed => {}
                Reading::Event(incoming) => {
                    events.push(incoming);
                    places.push(place);
                }
                Reading::Rejected { queue, incoming, cause } => {
                    outcomes[place] = TakenAs::Rejected;
                    dead.push((queue, rejected(incoming, cause)));
                }
            }
        }
        // First, because these are known again when the rest has to be tried once more.
        self.bury(&dead).await?;
        let published = self.publish(&events).await?;
        let mut refused = Vec::new();
        for ((place, outcome), incoming) in places.into_iter().zip(published).zip(events) {
            outcomes[place] = match outcome {
                Ok(true) => TakenAs::Event,
                Ok(false) => TakenAs::Repeated,
                Err(cause) => {
                    refused.push((self.queue_of(&incoming.event.event_type), rejected(incoming, cause)));
                    TakenAs::Rejected
                }
            };
        }
        self.bury(&refused).await?;
        Ok(outcomes)
    }

    /// Publishes events; for each whether it was new, or why it can never be taken.
    async fn publish(&self, events: &[Incoming]) -> Result<Vec<Result<bool, String>>, String> {
        match self.publish_together(events).await {
            Ok(new) => Ok(new.into_iter().map(Ok).collect()),
            Err(error) if !is_final(&error) => Err(error.to_string()),
            Err(error) if events.len() == 1 => Ok(vec![Err(error.to_string())]),
            Err(_) => {
                // One of them is in the way of the others.
                let mut outcomes = Vec::with_capacity(events.len());
                for event in events {
                    match self.publish_together(std::slice::from_ref(event)).await {
                        Ok(new) => outcomes.extend(new.into_iter().map(Ok)),
                        Err(error) if is_final(&error) => outcomes.push(Err(error.to_string())),
                        Err(error) => return Err(error.to_string()),
                    }
                }
                Ok(outcomes)
            }
        }
    }

    async fn publish_together(&self, events: &[Incoming]) -> Result<Vec<bool>, Error> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let count = events.len();
        let news = announcements(&self.state, events.iter().map(|incoming| &incoming.event)).await;
        let clients: Vec<Client> = news.iter().map(|new| new.event.client.clone()).collect();
        let events = events.iter().cloned().chain(news).collect();
        let publication = Publication { events, request: None };
        let mut published = self.state.gateway.outlet.publish(&self.scope, publication).await?.events;
        published.truncate(count);
        if !clients.is_empty() {
            self.state.known_clients.add(clients);
        }
        Ok(published.into_iter().map(|event| !event.duplicate).collect())
    }

    /// Makes dead letters durable, each of its queue.
    async fn bury(&self, dead: &[(QueueName, Arrived)]) -> Result<(), String> {
        let mut queues: Vec<&QueueName> = dead.iter().map(|(queue, _)| queue).collect();
        queues.sort_unstable();
        queues.dedup();
        for queue in queues {
            let of_queue = dead.iter().filter(|(other, _)| other == queue);
            let arrived: Vec<Arrived> = of_queue.map(|(_, arrived)| arrived.clone()).collect();
            self.state.queues().arrive(queue, &arrived).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// Named, so that the dead letter is made once however often that is tried.
fn rejected(incoming: Incoming, cause: String) -> Arrived {
    Arrived { incoming: Incoming { named: true, ..incoming }, rejected: Some(cause) }
}

/// Whether the same publication is refused whenever it is tried.
fn is_final(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unroutable | ErrorKind::TooLarge | ErrorKind::NotFound)
}
