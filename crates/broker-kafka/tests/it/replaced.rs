//! A log that is not the one that was read before: its end was lost, or its topic made anew.
//!
//! What a group knows is carried from one cluster to another, where under the same name stands
//! another log: so it looks to a consumer, whatever happened to the first.

use std::sync::Arc;

use orderwire_broker::{Broker, Consumer, Declare, QueueBinding};
use orderwire_broker_kafka::Options;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::time::timeout;

use crate::support::{Cluster, PATIENCE, Prepared, connected, drain, label, next, others, queue};

/// How many messages are done.
const DONE: usize = 5;

/// Publishes messages of one key, of which each says `prefix` and its number; their partition.
async fn fill(options: &Options, queue: &QueueBinding, prefix: &str, count: usize) -> i32 {
    let producer = others::producer(options);
    let mut partition = 0;
    for number in 0..count {
        let body = format!("{prefix}{number}");
        let sent = others::publish(&producer, queue.name.as_str(), Some("key"), &[], body.as_bytes()).await;
        partition = sent.0;
    }
    partition
}

/// What a group has to say after these messages are done.
async fn done(queue: &QueueBinding) -> (i32, i64, String) {
    let cluster = Cluster::start();
    let options = cluster.options();
    let broker = connected(&cluster, &options).await;
    broker.declare(queue).await.unwrap();
    let partition = fill(&options, queue, "old", DONE).await;
    assert_eq!(drain(&*broker, queue, DONE).await.len(), DONE);
    broker.close().await;
    let (offset, memo) =
        others::committed(&options, &group(&options, queue), queue.name.as_str(), partition).unwrap();
    assert_eq!(offset, i64::try_from(DONE).unwrap());
    (partition, offset, memo)
}

fn group(options: &Options, queue: &QueueBinding) -> String {
    format!("{}.{}", options.prefix, queue.name)
}

/// A cluster that holds another log of so many messages, and what the group said of the first.
async fn replaced(queue: &QueueBinding, count: usize) -> (Arc<Cluster>, Arc<Prepared>) {
    let (partition, offset, memo) = done(queue).await;
    let cluster = Cluster::start();
    let options = cluster.options();
    let broker = connected(&cluster, &options).await;
    broker.declare(queue).await.unwrap();
    assert_eq!(fill(&options, queue, "new", count).await, partition);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", options.servers.join(",")).set("group.id", group(&options, queue));
    let member: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    let mut place = list.add_partition(queue.name.as_str(), partition);
    place.set_offset(Offset::Offset(offset)).unwrap();
    place.set_metadata(&memo);
    member.commit(&list, CommitMode::Sync).unwrap();
    (cluster, broker)
}

/// All of it comes, in order, and is done after that.
async fn all_of_it_comes(count: usize) {
    let queue = queue(&[], Declare::Quorum);
    let (cluster, broker) = replaced(&queue, count).await;
    let came: Vec<String> = drain(&*broker, &queue, count).await.iter().map(label).collect();
    assert_eq!(came, (0..count).map(|number| format!("new{number}")).collect::<Vec<_>>());
    fill(&cluster.options(), &queue, "last", 1).await;
    let mut consumer: Box<dyn Consumer> = broker.consume(&queue, 10).await.unwrap();
    assert_eq!(label(&next(&mut consumer, 10).await[0]), "last0", "the rest is done");
    broker.close().await;
}

#[tokio::test]
async fn a_log_that_was_filled_beyond_what_was_done_is_read_from_its_beginning() {
    timeout(PATIENCE, all_of_it_comes(DONE + 3)).await.unwrap();
}

/// Nothing is behind what was done, so that nothing would come that could be looked at.
#[tokio::test]
async fn a_log_that_was_filled_to_where_the_other_was_done_is_read_from_its_beginning() {
    timeout(PATIENCE, all_of_it_comes(DONE)).await.unwrap();
}

#[tokio::test]
async fn a_log_that_is_shorter_than_what_was_done_is_read_from_its_beginning() {
    timeout(PATIENCE, all_of_it_comes(DONE - 2)).await.unwrap();
    timeout(PATIENCE, all_of_it_comes(DONE - 1)).await.unwrap();
}
