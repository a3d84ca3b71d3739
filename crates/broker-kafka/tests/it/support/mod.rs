//! What the tests work with.

pub(crate) mod others;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use orderwire_broker::testkit::Factory;
use orderwire_broker::{Broker, Capabilities, Consumer, Declare, Error, Message, QueueBinding, Received, To};
use orderwire_broker_kafka::{KafkaBroker, Options};
use orderwire_types::{Pattern, QueueName};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer};
use tokio::time::timeout;

/// More than anything takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The servers of a cluster.
pub(crate) const SERVERS: i32 = 3;
/// The partitions of a topic that the cluster makes by itself.
pub(crate) const PARTITIONS: i32 = 4;

/// A cluster of this test alone.
pub(crate) struct Cluster(BaseProducer);

impl Cluster {
    pub(crate) fn start() -> Arc<Self> {
        let mut config = ClientConfig::new();
        config.set("test.mock.num.brokers", SERVERS.to_string());
        let cluster = Self(config.create().unwrap());
        cluster.mock().create_topic("orderwire.bindings", 1, SERVERS).unwrap();
        cluster.mock().create_topic("own.bindings", 1, SERVERS).unwrap();
        Arc::new(cluster)
    }

    /// A broker whose topics are made by the cluster's operator, before it asks for them.
    pub(crate) fn broker(self: &Arc<Self>, options: Options) -> Prepared {
        Prepared { inner: KafkaBroker::start(options), cluster: Arc::clone(self) }
    }

    fn prepare(&self, topic: &str) {
        match self.mock().create_topic(topic, PARTITIONS, SERVERS) {
            Ok(()) | Err(KafkaError::MockCluster(RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err(error) => panic!("make topic {topic}: {error}"),
        }
    }

    pub(crate) fn factory() -> Arc<dyn Factory> {
        Arc::new(Place(Self::start()))
    }

    /// The hand on the servers.
    pub(crate) fn mock(&self) -> MockCluster<'_, DefaultProducerContext> {
        self.0.client().mock_cluster().unwrap()
    }

    /// Takes all servers away, or gives them back.
    pub(crate) fn set_up(&self, is_up: bool) {
        for server in 1..=SERVERS {
            let mock = self.mock();
            if is_up { mock.broker_up(server) } else { mock.broker_down(server) }.unwrap();
        }
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            servers: self.mock().bootstrap_servers().split(',').map(str::to_owned).collect(),
            partitions: PARTITIONS,
            name: "orderwire test".to_owned(),
            timeout: Duration::from_secs(20),
            // These servers let a second consumer wait for a second less.
            session: Duration::from_secs(3),
            heartbeat: Duration::from_millis(200),
            ..Options::default()
        }
    }
}

/// The broker on a cluster that cannot be asked for topics.
pub(crate) struct Prepared {
    inner: KafkaBroker,
    cluster: Arc<Cluster>,
}

#[async_trait]
impl Broker for Prepared {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn declare(&self, queue: &QueueBinding) -> Result<(), Error> {
        self.cluster.prepare(queue.name.as_str());
        self.inner.declare(queue).await
    }

    async fn unbind(&self, queue: &QueueName, types: &[Pattern]) -> Result<(), Error> {
        self.inner.unbind(queue, types).await
    }

    async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), Error>> {
        self.inner.publish(messages).await
    }

    async fn consume(&self, queue: &QueueBinding, prefetch: u16) -> Result<Box<dyn Consumer>, Error> {
        self.inner.consume(queue, prefetch).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.inner.check().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// A cluster as the suite sees it.
struct Place(Arc<Cluster>);

#[async_trait]
impl Factory for Place {
    async fn open(&self) -> Result<Arc<dyn Broker>, String> {
        let broker = self.0.broker(self.0.options());
        broker.check().await.map_err(|error| error.to_string())?;
        Ok(Arc::new(broker))
    }

    async fn occupy(&self, queue: &QueueName) -> Result<bool, String> {
        let made = self.0.mock().create_topic(queue.as_str(), 1, 1);
        made.map(|()| true).map_err(|error| error.to_string())
    }

    async fn remove(&self, _queues: &[QueueName]) -> Result<(), String> {
        // The cluster goes with its case.
        Ok(())
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}

/// A queue of a new name.
pub(crate) fn queue(types: &[&str], declare: Declare) -> QueueBinding {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let types = types.iter().map(|text| text.parse().unwrap()).collect();
    let name = format!("queue-{}", SERIAL.fetch_add(1, Ordering::Relaxed));
    QueueBinding { name: name.parse().unwrap(), types, declare }
}

/// A message that says `label` in its id and its body.
pub(crate) fn message(event_type: &str, label: &str) -> Message {
    let to = To::Type(event_type.parse().unwrap());
    let (key, body) = (Some("key".to_owned()), Bytes::copy_from_slice(label.as_bytes()));
    Message { to, id: label.to_owned(), key, content_type: "text/plain", headers: Vec::new(), body }
}

pub(crate) fn label(message: &Received) -> String {
    String::from_utf8(message.body.to_vec()).unwrap()
}

/// Publishes one message.
pub(crate) async fn publish(broker: &dyn Broker, message: Message) -> Result<(), Error> {
    timeout(PATIENCE, broker.publish(vec![message])).await.expect("a publish ends in time").remove(0)
}

/// Publishes one message until it is confirmed.
pub(crate) async fn insist(broker: &dyn Broker, message: &Message) {
    let mut again = tokio::time::interval(Duration::from_millis(20));
    let insisting = async {
        while publish(broker, message.clone()).await.is_err() {
            again.tick().await;
        }
    };
    timeout(PATIENCE, insisting).await.unwrap_or_else(|_| panic!("never confirmed: {}", message.id));
}

/// A broker that is connected.
pub(crate) async fn connected(cluster: &Arc<Cluster>, options: &Options) -> Arc<Prepared> {
    let broker = Arc::new(cluster.broker(options.clone()));
    broker.check().await.unwrap();
    broker
}

/// Asks again and again until it is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let mut again = tokio::time::interval(Duration::from_millis(20));
    let asking = async {
        while !is_so().await {
            again.tick().await;
        }
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

/// What comes next, at least one message.
pub(crate) async fn next(consumer: &mut Box<dyn Consumer>, max: usize) -> Vec<Received> {
    timeout(PATIENCE, consumer.next(max)).await.expect("something comes").unwrap()
}

/// Everything that is in a queue, acked; until `count` different labels have come.
pub(crate) async fn drain(broker: &dyn Broker, queue: &QueueBinding, count: usize) -> Vec<Received> {
    let mut consumer = broker.consume(queue, 500).await.unwrap();
    let mut came: Vec<Received> = Vec::new();
    let mut labels = std::collections::BTreeSet::new();
    while labels.len() < count {
        let Ok(batch) = timeout(PATIENCE, consumer.next(200)).await else {
            panic!("only {} of {count} came", labels.len());
        };
        let batch = batch.unwrap();
        let tags: Vec<_> = batch.iter().map(|message| message.tag).collect();
        consumer.ack(&tags).await.unwrap();
        labels.extend(batch.iter().map(label));
        came.extend(batch);
    }
    came
}
