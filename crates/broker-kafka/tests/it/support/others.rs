//! Other people's clients.

use orderwire_broker_kafka::Options;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::PATIENCE;

/// What every client has.
fn config(options: &Options) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", options.servers.join(","));
    config
}

/// A producer as it comes.
pub(crate) fn producer(options: &Options) -> FutureProducer {
    config(options).create().unwrap()
}

/// Publishes a record.
pub(crate) async fn publish(
    producer: &FutureProducer,
    topic: &str,
    key: Option<&str>,
    headers: &[(&str, &[u8])],
    body: &[u8],
) -> (i32, i64) {
    let all = headers
        .iter()
        .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
    let mut record = FutureRecord::to(topic).payload(body).headers(all);
    record.key = key;
    let delivery = producer.send(record, PATIENCE).await.unwrap();
    (delivery.partition, delivery.offset)
}

/// Where a group stands in a partition: the offset, and the text beside it.
pub(crate) fn committed(
    options: &Options,
    group: &str,
    topic: &str,
    partition: i32,
) -> Option<(i64, String)> {
    let consumer: BaseConsumer = config(options).set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    let committed = consumer.committed_offsets(list, PATIENCE).unwrap();
    let elements = committed.elements();
    match elements[0].offset() {
        Offset::Offset(offset) => Some((offset, elements[0].metadata().to_owned())),
        _ => None,
    }
}

/// Puts a group without members to an offset.
pub(crate) fn set(options: &Options, group: &str, topic: &str, partition: i32, offset: i64) {
    let consumer: BaseConsumer = config(options).set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
}
