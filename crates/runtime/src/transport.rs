//! The way through a broker: what carries events to it, and what takes them in.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orderwire_broker::{Broker, Identity, QueueBinding, Received, SigningKey, Tls};
use orderwire_broker_nats::{Login, NatsBroker};
use orderwire_broker_rabbitmq::RabbitBroker;
use orderwire_config::{Broker as BrokerSettings, BrokerQueue, Clients, Config};
use orderwire_gateway::{BrokerQueueView, BrokerView, Entrance, Gateway, Input, Outlet};
use orderwire_queue::{Arrived, Clock, Error as QueueError, Publication, Published, Queues, Service};
use orderwire_sqlite::{DataDir, SqliteQueue};
use orderwire_store::Store;
use orderwire_transport::{
    Carrier, Destination, Drain, Intake, IntakeOptions, Reader, Relay, Spool, Topology,
};
use orderwire_types::queue::Kind;
use orderwire_types::{QueueName, Scope, scope};
use orderwire_worker::{
    DirectHandler, DirectWorker, Pause, StreamOptions, StreamWorker, TaskHandler, TaskOptions, TaskWorker,
};

use crate::error::{Error, While as _};
use crate::fleeting;
use crate::stage::Stage;

/// The folder of the spool in the data folder.
const SPOOL: &str = "spool";
/// The file of what was bound at the broker, in the data folder.
const BINDINGS: &str = "broker.json";
/// The schemes of Kafka.
const KAFKA: [&str; 2] = ["kafka", "kafkas"];
/// How long the intakes may take to stop: a commit and an answer of the broker.
const PATIENCE: Duration = Duration::from_secs(30);

/// The broker and everything between it and the queues.
pub(crate) struct Transport {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) spool: Option<Arc<Spool>>,
    pub(crate) topology: Arc<Topology>,
    /// Which broker it is: its address without user and password.
    place: String,
    key: SigningKey,
    queues: Vec<BrokerQueue>,
}

impl Transport {
    /// The transport that the configuration names, if any, and the service of its spool,
    /// which has to run. A broker that is away is no fault: it is waited for.
    pub(crate) async fn open(
        config: &Config,
        store: &dyn Store,
        clock: &Clock,
    ) -> Result<Option<(Self, Option<Service>)>, Error> {
        if config.broker.url.is_none() {
            return Ok(None);
        }
        if let Some(warning) = warning(config) {
            tracing::warn!("{warning}");
        }
        let broker = connect(config).await?;
        let key = match &config.broker.signing_key {
            Some(secret) => SigningKey::derived_from(secret.resolve().map_err(Error::failed)?.bytes()),
            None => {
                let secret = store.hash_key().await.while_("reading the key of this installation")?;
                SigningKey::derived_from(&secret)
            }
        };
        let (spool, service) = match open_spool(config, clock).await? {
            Some((spool, service)) => (Some(spool), Some(service)),
            None => (None, None),
        };
        let queues = config.broker_queues();
        let memory = config.data.join(BINDINGS);
        let bindings = queues.iter().flat_map(bindings).collect();
        let place = config.broker.url.place();
        // What is bound at NATS is bound to its stream.
        let stream = if config.broker.url.is_nats() { &config.broker.nats.stream } else { "" };
        let topology =
            Arc::new(Topology::new(bindings, format!("{place} {stream}").trim_end().to_owned(), memory));
        Ok(Some((Self { broker, spool, topology, place, key, queues }, service)))
    }

    /// What other people's code has to know of it.
    pub(crate) fn view(&self) -> BrokerView {
        let queue = |queue: &BrokerQueue| BrokerQueueView {
            name: queue.name.clone(),
            intake: self.broker.address(&queue.intake()),
            out: queue.native.then(|| self.broker.address(&queue.name)),
        };
        let (scheme, rest) = self.place.split_once("://").unwrap_or_default();
        let protocol = match scheme {
            "amqps" => "amqps",
            "nats" | "tls" => "nats",
            "kafka" => "kafka",
            "kafkas" => "kafka-secure",
            _ => "amqp",
        };
        // Of several servers one is as good as another.
        let server = rest.split(',').next().unwrap_or_default();
        let (host, path) = server.split_at(server.find('/').unwrap_or(server.len()));
        let host = host.to_owned();
        // A virtual host is all that stands there and means anything to others.
        let path = if protocol.starts_with("amqp") { path.to_owned() } else { String::new() };
        BrokerView { protocol, host, path, queues: self.queues.iter().map(queue).collect() }
    }

    /// The way of the gateway's events.
    pub(crate) fn outlet(&self, queues: &Queues) -> Arc<dyn Outlet> {
        let bound: HashSet<QueueName> = self.queues.iter().map(|queue| queue.name.clone()).collect();
        let (broker, key) = (self.broker.clone(), self.key.clone());
        Arc::new(ThroughBroker(Carrier::new(
            queues.clone(),
            bound,
            broker,
            self.topology.clone(),
            key,
            self.spool.clone(),
        )))
    }

    /// What is handed on to other people's consumers, behind the worker of the queue, if
    /// it has one.
    pub(crate) fn relay(&self, queue: &str, first: Option<Arc<dyn TaskHandler>>) -> Option<Relay> {
        let queue = self.queues.iter().find(|other| other.native && other.name.as_str() == queue)?;
        Some(Relay::new(self.broker.clone(), outside(queue), queue.def.format, first))
    }

    /// Starts the relays of queues that have no other worker.
    pub(crate) fn start_relays(&self, stage: &mut Stage, queues: &Queues) {
        for queue in self.queues.iter().filter(|queue| queue.native) {
            if queues.worker(&queue.name) != Some(RELAY) {
                continue;
            }
            let relay = Relay::new(self.broker.clone(), outside(queue), queue.def.format, None);
            let options = TaskOptions::default();
            let worker = TaskWorker::new(queues.clone(), queue.name.clone(), RELAY, Arc::new(relay), options);
            let stop = stage.stop.clone().cancelled_owned();
            stage.spawn("a relay to the broker", worker.run(stop));
        }
    }

    /// Whether what waits at the broker for this queue goes straight to its worker: a stream
    /// that nobody else reads.
    pub(crate) fn is_direct(&self, queue: &QueueName) -> bool {
        self.queues
            .iter()
            .any(|known| known.name == *queue && known.def.kind == Kind::Stream && !known.native)
    }

    /// Starts the intake of every queue, and the drain of the spool. `streams`: the handlers
    /// of streams.
    pub(crate) fn start(
        self,
        gateway: &Gateway,
        streams: &HashMap<QueueName, Arc<dyn DirectHandler>>,
    ) -> Stage {
        let mut stage = Stage::new("the transport", PATIENCE);
        let inputs: HashMap<QueueName, Input> =
            self.queues.iter().map(|queue| (queue.name.clone(), input(queue))).collect();
        let entrance = Entrance::new(gateway.clone(), self.key.clone(), inputs, self.broker.capabilities());
        let reader: Arc<dyn Reader> = Arc::new(ByEntrance(entrance));
        let (topology, broker, stop) = (self.topology.clone(), self.broker.clone(), stage.stop.clone());
        stage.spawn("the making of queues at the broker", async move {
            tokio::select! {
                () = topology.keep(broker.as_ref()) => {}
                () = stop.cancelled() => {}
            }
        });
        for queue in &self.queues {
            let binding = bindings(queue).pop().expect("its intake is the last");
            let (queues, name, reader) = (gateway.queues.clone(), queue.name.clone(), reader.clone());
            let options = IntakeOptions::default();
            let (broker, topology) = (self.broker.clone(), self.topology.clone());
            let destination = match streams.get(&name).filter(|_| self.is_direct(&name)) {
                Some(handler) => {
                    let options = StreamOptions::default();
                    Destination::Worker(DirectWorker::new(name.clone(), handler.clone(), options))
                }
                None => Destination::Queue,
            };
            let intake = Intake::new(broker, topology, binding, queues, name, destination, reader, options);
            let stop = stage.stop.clone().cancelled_owned();
            stage.spawn("an intake from the broker", intake.run(stop));
        }
        if let Some(spool) = &self.spool {
            let (queues, name) = spool.queues();
            let drain = Drain::new(
                gateway.queues.clone(),
                spool.clone(),
                self.broker.clone(),
                self.topology.clone(),
                self.key.clone(),
            );
            // A piece at a time, so that little is published again after a crash.
            // Tried again soon, because all that is accepted meanwhile waits behind it.
            let pause = Pause { first: Duration::from_millis(100), last: Duration::from_secs(2) };
            let options = StreamOptions { batch_entries: 512, pause, ..StreamOptions::default() };
            let drain = StreamWorker::new(queues, name, Arc::new(drain), options);
            let stop = stage.stop.clone().cancelled_owned();
            stage.spawn("the drain of the spool", drain.run(stop));
        }
        stage
    }
}

/// The role of a relay.
pub(crate) const RELAY: &str = "relay";

/// The queues at the broker that a queue has there: where its events come in, and where
/// they go out to other people's consumers.
fn bindings(queue: &BrokerQueue) -> Vec<QueueBinding> {
    let intake =
        QueueBinding { name: queue.intake(), types: queue.def.types.clone(), declare: queue.declare };
    if queue.native { vec![outside(queue), intake] } else { vec![intake] }
}

/// The queue at the broker of other people's consumers.
fn outside(queue: &BrokerQueue) -> QueueBinding {
    QueueBinding { name: queue.name.clone(), types: Vec::new(), declare: queue.declare }
}

fn input(queue: &BrokerQueue) -> Input {
    let clients = match &queue.clients {
        Clients::All => scope::Clients::All,
        Clients::Named(names) => scope::Clients::Only(names.iter().cloned().collect()),
    };
    let scope = Scope {
        principal: format!("queue:{}", queue.name).into(),
        clients,
        rights: queue.rights.iter().copied().collect(),
        objects: None,
    };
    Input { scope, event_type: queue.event_type.clone() }
}

/// Where the spool is, if one is wanted, and on what kind of file system that does not last.
fn spool_folder(config: &Config) -> Option<(PathBuf, Option<fleeting::Kind>)> {
    if config.broker.url.is_none() || config.broker.spool.events == 0 {
        return None;
    }
    let folder = config.broker.spool.folder.clone().unwrap_or_else(|| config.data.join(SPOOL));
    let kind = fleeting::kind(&folder);
    Some((folder, kind))
}

/// What somebody has to know of the spool although nothing is wrong with its settings.
pub(crate) fn warning(config: &Config) -> Option<String> {
    let (folder, kind) = spool_folder(config)?;
    let kind = kind?;
    let then = if kind.is_memory {
        "what is accepted would be lost with it, so there is no spool: while the broker is away, events are \
         refused; mount a volume there, or set broker.spool.events to 0"
    } else {
        "events that are accepted while the broker is away would be lost with it; mount a volume there, or set \
         broker.spool.events to 0, so that they are refused"
    };
    Some(format!("broker.spool.folder {} is on {}: {then}", folder.display(), kind.name))
}

async fn open_spool(config: &Config, clock: &Clock) -> Result<Option<(Arc<Spool>, Service)>, Error> {
    let settings = &config.broker.spool;
    let folder = match spool_folder(config) {
        None => return Ok(None),
        Some((_, Some(kind))) if kind.is_memory => return Ok(None),
        Some((folder, _)) => folder,
    };
    let engine = tokio::task::spawn_blocking(move || {
        let dir = DataDir::open(&folder).while_("opening the folder of the spool")?;
        SqliteQueue::open(&dir, &orderwire_sqlite::Options::default()).while_("opening the spool")
    });
    let engine = Arc::new(engine.await.while_("opening the spool")??);
    let options =
        orderwire_queue::Options { queue_events: settings.events, ..orderwire_queue::Options::default() };
    let opened = Queues::open(engine, vec![Spool::definition()], HashMap::new(), options, clock.clone());
    let (queues, service) = opened.await.while_("opening the spool")?;
    let spool = Spool::open(queues, settings.events).await.while_("opening the spool")?;
    Ok(Some((spool, service)))
}

/// Whether the broker of the configuration can be reached, and takes messages. Nothing is made there.
///
/// # Errors
/// Why not, in plain words.
pub async fn try_broker(config: &Config) -> Result<(), String> {
    let broker = connect(config).await.map_err(|error| error.to_string())?;
    let checked = tokio::time::timeout(PATIENCE, broker.check()).await;
    broker.close().await;
    match checked {
        Ok(checked) => checked.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

/// What is to be done where the broker is one that this build knows nothing of; none: it knows it.
pub(crate) fn missing(config: &Config) -> Option<String> {
    let scheme = config.broker.url.scheme().filter(|scheme| KAFKA.contains(scheme))?;
    (!cfg!(feature = "kafka")).then(|| {
        format!(
            "{scheme}:// is not in this build, whose feature kafka is off; build it with cargo build --release \
             --features kafka, or use another broker"
        )
    })
}

/// The broker of the configuration; its connection is made when it is there.
async fn connect(config: &Config) -> Result<Arc<dyn Broker>, Error> {
    if let Some(why) = missing(config) {
        return Err(Error::failed(format!("broker.url: {why}")));
    }
    let settings = &config.broker;
    let url = settings.url.resolved(|name| std::env::var(name).ok()).map_err(Error::failed)?;
    if settings.url.is_nats() {
        let options = nats(settings, url);
        let broker = NatsBroker::open(options).await.while_("reading broker.url and what belongs to it")?;
        return Ok(Arc::new(broker));
    }
    #[cfg(feature = "kafka")]
    if settings.url.scheme().is_some_and(|scheme| KAFKA.contains(&scheme)) {
        let mut options = orderwire_broker_kafka::Options::from_url(&url).while_("reading broker.url")?;
        options.tls = options.tls.map(|_| tls(settings));
        return Ok(Arc::new(orderwire_broker_kafka::KafkaBroker::start(options)));
    }
    let mut options = orderwire_broker_rabbitmq::Options::from_url(&url).while_("reading broker.url")?;
    options.tls = options.tls.map(|_| tls(settings));
    Ok(Arc::new(RabbitBroker::start(options)))
}

fn nats(settings: &BrokerSettings, url: String) -> orderwire_broker_nats::Options {
    let mut options = orderwire_broker_nats::Options::new(url);
    options.tls = tls(settings);
    let settings = &settings.nats;
    options.prefix = settings.stream.to_ascii_lowercase();
    options.stream.clone_from(&settings.stream);
    options.replicas = settings.replicas;
    options.stream_bytes_max = settings.bytes.0;
    if let Some(file) = &settings.credentials {
        options.login = Login::Credentials(file.clone());
    }
    options
}

/// What is trusted and shown.
fn tls(settings: &BrokerSettings) -> Tls {
    let files = settings.certificate.clone().zip(settings.key.clone());
    let identity = files.map(|(certificate_file, key_file)| Identity { certificate_file, key_file });
    Tls { ca_file: settings.ca.clone(), identity }
}

struct ThroughBroker(Carrier);

#[async_trait]
impl Outlet for ThroughBroker {
    async fn publish(&self, scope: &Scope, publication: Publication) -> Result<Published, QueueError> {
        self.0.publish(scope, publication).await
    }
}

struct ByEntrance(Entrance);

#[async_trait]
impl Reader for ByEntrance {
    fn read(&self, queue: &QueueName, message: &Received) -> Option<Arrived> {
        self.0.read(queue, message)
    }

    async fn took_in(&self, arrived: &[Arrived]) -> Result<(), String> {
        self.0.announce(arrived).await
    }
}
