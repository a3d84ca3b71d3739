//! What the tests work with.

pub(crate) mod others;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orderwire_broker::testkit::Factory;
pub(crate) use orderwire_broker::testkit::tools::{
    PATIENCE, drain, eventually, failure, insist, label, message, next, publish, queue,
};
use orderwire_broker::{Broker, Capabilities, Consumer, Error, Message, QueueBinding};
use orderwire_broker_kafka::{KafkaBroker, Options};
use orderwire_types::{Pattern, QueueName};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer};

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

/// A broker that is connected.
pub(crate) async fn connected(cluster: &Arc<Cluster>, options: &Options) -> Arc<Prepared> {
    let broker = Arc::new(cluster.broker(options.clone()));
    broker.check().await.unwrap();
    broker
}
