//! Subscriptions to MQTT brokers: from the configuration to the gateway's topics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use orderwire_config::{Clients, Config, Mqtt, MqttVersion, Report, Secret, SecretValue, TopicMapping};
use orderwire_gateway::{Gateway, Gives, Mapping, TakenAs, TopicMessage, Topics};
use orderwire_mqtt::{
    Address, Filter, Handle, Login, Message, Options, Outcome, Port, Service, Tls, Version,
};
use orderwire_types::{Label, Scope, scope};
use uuid::Uuid;

use crate::error::Error;
use crate::stage::Stage;
use crate::turn::in_turn;

/// How long the connections may take to stop: a commit and an answer of each broker.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of the store's name is in a client id: brokers of 3.1.1 need not take long ones.
const INSTALLATION_CHARS: usize = 8;
/// The user property (MQTT 5) that names a message. No word that producers may use for
/// something else, such as `id`: messages that share it would be one.
const MESSAGE_ID: &str = "message-id";

/// The turn of whoever subscribes.
const TURN: &str = "mqtt";

/// How the connections are.
#[derive(Default)]
pub(crate) struct Health {
    /// Each by its name.
    connections: Vec<(Label, Handle)>,
    /// Whether it is this server's turn to have them.
    has_turn: Arc<AtomicBool>,
}

impl Health {
    /// What there is to say of each that does not work here.
    pub(crate) fn details(&self) -> impl Iterator<Item = (&Label, Option<String>)> {
        let has_turn = self.has_turn.load(Ordering::SeqCst);
        self.connections.iter().map(move |(name, handle)| {
            (name, if has_turn { handle.check().err() } else { Some(NOT_THE_TURN.to_owned()) })
        })
    }
}

/// How a connection is that another server has.
const NOT_THE_TURN: &str = "one server of those that share a store subscribes, and this one does not have the turn: another has it, or the \
     store cannot be reached";

/// Starts every connection. A broker that is away is no fault: it is waited for.
///
/// Of servers that share a store one has them all: each subscription would bring it every message,
/// and who takes over has the session of before by its client id, with what the broker kept.
///
/// # Errors
/// What was there when the configuration was checked and is not any more, such as a password or
/// a file of certificates.
pub(crate) fn start(config: &Config, gateway: &Gateway) -> Result<(Option<Stage>, Health), Error> {
    let mut health = Health::default();
    if config.mqtt.is_empty() {
        return Ok((None, health));
    }
    let installation = installation(gateway.store.id());
    let mut services = Vec::with_capacity(config.mqtt.len());
    for (name, mqtt) in &config.mqtt {
        let wrong = |why: String| Error::failed(format!("mqtt.{name}: {why}"));
        let address: Address = mqtt.url.parse().map_err(wrong)?;
        let password = mqtt.password.as_ref().map(Secret::resolve).transpose().map_err(wrong)?;
        let mappings = mqtt.topics.iter().map(mapping).collect();
        let topics = Topics::new(gateway.clone(), scope_of(name, mqtt), mappings);
        let options = options(config, name, mqtt, &installation, address, password);
        let (service, handle) =
            Service::new(options, Arc::new(ByTopics(topics))).map_err(|error| wrong(error.to_string()))?;
        services.push(service);
        health.connections.push((name.clone(), handle));
    }
    let mut stage = Stage::new("the MQTT connections", PATIENCE);
    let (store, stop, has_turn) = (gateway.store.clone(), stage.stop.clone(), health.has_turn.clone());
    let services = Arc::new(services);
    stage.spawn("the MQTT connections", async move {
        in_turn(store, TURN, stop, |stop| {
            let (services, has_turn) = (services.clone(), has_turn.clone());
            async move {
                has_turn.store(true, Ordering::SeqCst);
                join_all(services.iter().map(|service| service.run(stop.cancelled()))).await;
                has_turn.store(false, Ordering::SeqCst);
            }
        })
        .await;
    });
    Ok((Some(stage), health))
}

/// What tells the client ids of this installation from those of others at the same broker: the
/// same for all of its servers, and after each start.
fn installation(store: Uuid) -> String {
    store.simple().to_string().chars().take(INSTALLATION_CHARS).collect()
}

/// Only the crate that speaks MQTT knows which URL it can reach and whom it can trust.
pub(crate) fn check(config: &Config, report: &mut Report<'_>) {
    for (name, mqtt) in &config.mqtt {
        let at = |key: &'static str| ["mqtt", name.as_str(), key];
        match mqtt.url.parse::<Address>() {
            Err(fault) => report.fault(&at("url"), fault),
            Ok(address) if mqtt.ca.is_some() && !address.tls => {
                let detail = "without TLS there is no certificate to check; use mqtts://, or remove ca";
                report.fault(&at("ca"), detail);
            }
            Ok(address) => {
                // Whose store it is does not matter to that.
                let installation = installation(Uuid::nil());
                if let Err(fault) = options(config, name, mqtt, &installation, address, None).check() {
                    report.fault(&["mqtt", name.as_str()], fault.to_string());
                }
            }
        }
    }
}

fn options(
    config: &Config,
    name: &Label,
    mqtt: &Mqtt,
    installation: &str,
    address: Address,
    password: Option<SecretValue>,
) -> Options {
    Options {
        tls: address.tls.then(|| Tls { ca: mqtt.ca.clone() }),
        login: mqtt.user.clone().map(|user| Login { user, password }),
        version: match mqtt.version {
            MqttVersion::V3 => Version::V3,
            MqttVersion::V5 => Version::V5,
        },
        client_id: mqtt.client_id(name, installation),
        keep_alive: mqtt.keep_alive.0,
        session: mqtt.session.0,
        filters: filters(&mqtt.topics),
        body_bytes_max: usize::try_from(config.limits.body_bytes.0).unwrap_or(usize::MAX),
        ..Options::new(name.as_str(), address.host, address.port)
    }
}

/// What is subscribed to: a topic that another one holds is subscribed to with that, so that
/// no broker sends a message twice. The stronger promise of both is asked for.
fn filters(topics: &[TopicMapping]) -> Vec<Filter> {
    let is_held = |index: usize| {
        let topic = &topics[index].topic;
        topics.iter().enumerate().any(|(other, mapping)| {
            // Of two that hold each other, which are the same, the first is subscribed to.
            other != index && mapping.topic.covers(topic) && (!topic.covers(&mapping.topic) || other < index)
        })
    };
    let widest = (0..topics.len()).filter(|index| !is_held(*index));
    let filter = |index: usize| {
        let topic = &topics[index].topic;
        let held = topics.iter().filter(|mapping| topic.covers(&mapping.topic));
        Filter { filter: topic.filter(), at_least_once: held.map(|mapping| mapping.qos).max() == Some(1) }
    };
    widest.map(filter).collect()
}

fn mapping(mapping: &TopicMapping) -> Mapping {
    let gives = match (&mapping.dataset, &mapping.event_type) {
        (Some(dataset), _) => Gives::Rows {
            dataset: dataset.clone(),
            columns: mapping.columns.iter().map(|(column, text)| (column.clone(), text.clone())).collect(),
        },
        (None, Some(event_type)) => Gives::EventOf(event_type.clone()),
        (None, None) => Gives::Event,
    };
    Mapping { topic: mapping.topic.clone(), gives, client: mapping.client.clone(), key: mapping.key.clone() }
}

fn scope_of(name: &Label, mqtt: &Mqtt) -> Scope {
    let clients = match &mqtt.principal.clients {
        Clients::All => scope::Clients::All,
        Clients::Named(names) => scope::Clients::Only(names.iter().cloned().collect()),
    };
    Scope {
        principal: format!("mqtt:{name}").into(),
        clients,
        rights: mqtt.rights().into_iter().collect(),
        objects: None,
    }
}

struct ByTopics(Topics);

#[async_trait]
impl Port for ByTopics {
    async fn take(&self, messages: &[Message]) -> Result<Vec<Outcome>, String> {
        let messages: Vec<TopicMessage<'_>> = messages.iter().map(topic_message).collect();
        let taken = self.0.take(&messages).await?;
        Ok(taken.into_iter().map(outcome).collect())
    }
}

fn topic_message(message: &Message) -> TopicMessage<'_> {
    TopicMessage {
        topic: &message.topic,
        id: message.property(MESSAGE_ID),
        traceparent: message.property("traceparent"),
        content_type: message.content_type.as_deref(),
        properties: &message.properties,
        body: &message.body,
        cut: message.cut.as_deref(),
        new_id: message.new_id,
    }
}

fn outcome(taken: TakenAs) -> Outcome {
    match taken {
        TakenAs::Event => Outcome::Taken,
        TakenAs::Repeated => Outcome::Repeated,
        TakenAs::Rejected => Outcome::Rejected,
        TakenAs::Passed => Outcome::Passed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_another_holds_is_subscribed_to_once_with_the_stronger_promise() {
        let topic = |topic: &str, qos: u8| -> TopicMapping {
            TopicMapping {
                topic: topic.parse().unwrap(),
                event_type: None,
                dataset: None,
                columns: std::collections::BTreeMap::new(),
                client: None,
                key: None,
                qos,
            }
        };
        let topics = [topic("a/{b}", 1), topic("c", 0), topic("a/#", 0), topic("c", 0), topic("d/{x}", 1)];
        let filters = filters(&topics);
        let found: Vec<_> =
            filters.iter().map(|filter| (filter.filter.as_str(), filter.at_least_once)).collect();
        assert_eq!(found, [("c", false), ("a/#", true), ("d/+", true)]);
    }
}
