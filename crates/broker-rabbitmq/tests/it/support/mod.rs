//! What the tests work with.

pub(crate) mod others;
pub(crate) mod server;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use orderwire_broker::Broker;
use orderwire_broker::testkit::Factory;
pub(crate) use orderwire_broker::testkit::tools::{
    PATIENCE, drain, eventually, failure, insist, label, message, publish, queue, unique,
};
use orderwire_broker_rabbitmq::{Options, RabbitBroker};
use orderwire_types::QueueName;
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::others::Others;

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

/// A broker that is connected.
pub(crate) async fn connected(options: &Options) -> Arc<RabbitBroker> {
    let broker = Arc::new(RabbitBroker::start(options.clone()));
    broker.check().await.unwrap();
    broker
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
