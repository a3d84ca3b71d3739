//! What the tests work with.

pub(crate) mod others;
pub(crate) mod proxy;
pub(crate) mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use orderwire_broker::testkit::Factory;
use orderwire_broker::{Broker, Declare, Error, Message, QueueBinding, Received, To};
use orderwire_broker_rabbitmq::{Options, RabbitBroker};
use orderwire_types::QueueName;
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::others::Others;

/// More than anything takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The settings for a server that is there already; none, said loudly, where there is
/// none. Each call gives an exchange of its own.
pub(crate) async fn options() -> Option<Options> {
    let given = std::env::var("AMQP_URL").ok();
    let url = given.clone().unwrap_or_else(|| "amqp://guest:guest@127.0.0.1:5672".to_owned());
    let mut options = Options::from_url(&url).unwrap();
    let place = (options.host.clone(), options.port);
    let there = timeout(PATIENCE, TcpStream::connect(place)).await.is_ok_and(|socket| socket.is_ok());
    if !there && given.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI needs a RabbitMQ on 127.0.0.1:5672: cargo xtask services"
        );
        eprintln!(
            "SKIPPED: no RabbitMQ on 127.0.0.1:5672; start one with cargo xtask services, or set AMQP_URL"
        );
        return None;
    }
    options.exchange = unique("events");
    options.name = "orderwire test".to_owned();
    options.timeout = Duration::from_secs(20);
    Some(options)
}

/// A name that nothing else has.
pub(crate) fn unique(what: &str) -> String {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    format!("orderwire-test-{what}-{now:x}-{:x}-{serial}", std::process::id())
}

/// A queue of a new name.
pub(crate) fn queue(types: &[&str], declare: Declare) -> QueueBinding {
    let types = types.iter().map(|text| text.parse().unwrap()).collect();
    QueueBinding { name: unique("queue").parse().unwrap(), types, declare }
}

/// A message that says `label` in its id and its body.
pub(crate) fn message(event_type: &str, label: &str) -> Message {
    let to = To::Type(event_type.parse().unwrap());
    let body = Bytes::copy_from_slice(label.as_bytes());
    Message { to, id: label.to_owned(), key: None, content_type: "text/plain", headers: Vec::new(), body }
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
pub(crate) async fn connected(options: &Options) -> Arc<RabbitBroker> {
    let broker = Arc::new(RabbitBroker::start(options.clone()));
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

/// The suite's way to a server that is there already.
pub(crate) struct RabbitFactory {
    options: Options,
}

impl RabbitFactory {
    pub(crate) async fn here() -> Option<Arc<dyn Factory>> {
        let options = options().await?;
        Some(Arc::new(Self { options }))
    }
}

#[async_trait]
impl Factory for RabbitFactory {
    async fn open(&self) -> Result<Arc<dyn Broker>, String> {
        let broker = RabbitBroker::start(self.options.clone());
        broker.check().await.map_err(|error| error.to_string())?;
        Ok(Arc::new(broker))
    }

    async fn occupy(&self, queue: &QueueName) -> Result<bool, String> {
        let others = Others::connect(&self.options).await;
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(10_000));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let declared = others.channel().await.queue_declare(queue.as_str().into(), durable, arguments).await;
        declared.map(|_| true).map_err(|error| error.to_string())
    }

    async fn remove(&self, queues: &[QueueName]) -> Result<(), String> {
        Others::connect(&self.options).await.remove(queues, &self.options.exchange).await;
        Ok(())
    }
}
