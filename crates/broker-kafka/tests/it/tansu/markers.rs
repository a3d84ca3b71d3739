//! What is last in a topic need not be a record.

use orderwire_broker::{Broker, Declare};
use orderwire_broker_kafka::KafkaBroker;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::Tansu;
use crate::support::{PATIENCE, drain, label, message, publish, queue};

/// Somebody writes bindings in a transaction, whose marker stays behind the last of them.
#[tokio::test]
async fn bindings_that_end_with_the_marker_of_a_transaction_are_read_to_their_end() {
    let Some(tansu) = Tansu::start() else { return };
    let options = tansu.options();
    let (broker, queue) = (KafkaBroker::start(options.clone()), queue(&["first"], Declare::Quorum));
    broker.declare(&queue).await.unwrap();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", options.servers.join(",")).set("transactional.id", "others");
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    let (topic, key) = (format!("{}.bindings", options.prefix), format!("{} second", queue.name));
    producer.send(BaseRecord::to(&topic).partition(0).key(&key).payload("bound")).unwrap();
    producer.commit_transaction(PATIENCE).unwrap();

    // One that was there, whom nobody told, and one that comes.
    publish(&broker, message("second", "m0")).await.unwrap();
    let later = KafkaBroker::start(options);
    later.check().await.unwrap();
    publish(&later, message("second", "m1")).await.unwrap();
    let came: Vec<String> = drain(&broker, &queue, 2).await.iter().map(label).collect();
    assert_eq!(came, ["m0", "m1"]);
    broker.close().await;
    later.close().await;
}
