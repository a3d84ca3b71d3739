//! Other people's code: the client library as it comes, without anything of ours.

use lapin::options::{BasicPublishOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use orderwire_broker::QueueBinding;
use orderwire_broker_rabbitmq::Options;
use orderwire_types::QueueName;

pub(crate) struct Others {
    connection: Connection,
}

impl Others {
    /// Connects to where `options` say, without TLS, as the guest.
    pub(crate) async fn connect(options: &Options) -> Self {
        let given = std::env::var("AMQP_URL").ok();
        let url = given.unwrap_or_else(|| format!("amqp://guest:guest@{}:{}", options.host, options.port));
        Self::connect_to(&url).await
    }

    pub(crate) async fn connect_to(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        Self { connection }
    }

    pub(crate) async fn channel(&self) -> Channel {
        self.connection.create_channel().await.unwrap()
    }

    /// Declares a durable queue without arguments, as everybody does.
    pub(crate) async fn declare(&self, queue: &QueueName) -> lapin::Result<()> {
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let channel = self.channel().await;
        channel.queue_declare(queue.as_str().into(), durable, FieldTable::default()).await.map(drop)
    }

    pub(crate) async fn publish(&self, exchange: &str, key: &str, properties: BasicProperties, body: &[u8]) {
        let channel = self.channel().await;
        let options = BasicPublishOptions::default();
        channel.basic_publish(exchange.into(), key.into(), options, body, properties).await.unwrap();
        // The channel is closed in order, so that all that it sent has arrived.
        channel.close(200, "OK".into()).await.unwrap();
    }

    pub(crate) async fn delete(&self, queue: &QueueName) {
        let options = QueueDeleteOptions::default();
        self.channel().await.queue_delete(queue.as_str().into(), options).await.unwrap();
    }

    pub(crate) async fn delete_exchange(&self, exchange: &str) {
        let options = ExchangeDeleteOptions::default();
        self.channel().await.exchange_delete(exchange.into(), options).await.unwrap();
    }

    /// Removes what a test made; what is not there is removed already.
    pub(crate) async fn remove(&self, queues: &[QueueName], exchange: &str) {
        for queue in queues {
            self.delete(queue).await;
        }
        self.delete_exchange(exchange).await;
    }
}

/// Removes what a test made.
pub(crate) async fn clean(options: &Options, queues: &[&QueueBinding]) {
    let names: Vec<QueueName> = queues.iter().map(|queue| queue.name.clone()).collect();
    Others::connect(options).await.remove(&names, &options.exchange).await;
}
