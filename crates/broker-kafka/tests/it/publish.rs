//! What is published: to which partition, in which order, and what becomes of it.

use std::collections::HashMap;
use std::time::Duration;

use orderwire_broker::{Broker, Declare, ErrorKind, Message, To};
use orderwire_broker_kafka::Options;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::task::JoinSet;

use crate::support::{Cluster, PARTITIONS, connected, drain, label, message, publish, queue};

/// So that other producers' messages of a key are in order with ours.
#[tokio::test]
async fn a_key_means_the_partition_that_it_means_to_clients_in_java() {
    let cluster = Cluster::start();
    let options = cluster.options();
    let broker = connected(&cluster, &options).await;
    let queue = queue(&["keyed"], Declare::Quorum);
    broker.declare(&queue).await.unwrap();
    // Murmur2 as Kafka's own clients have it, for four partitions.
    for (key, partition) in
        [("foobar", -790_332_482), ("21", -973_932_308), ("a-little-bit-long-string", -985_981_536)]
            .map(|(key, hash): (&str, i32)| (key, (hash & i32::MAX) % PARTITIONS))
    {
        let before = ends(&options, queue.name.as_str());
        publish(&*broker, Message { key: Some(key.to_owned()), ..message("keyed", key) }).await.unwrap();
        let after = ends(&options, queue.name.as_str());
        let grown: Vec<i32> =
            (0..PARTITIONS).filter(|at| after[*at as usize] > before[*at as usize]).collect();
        assert_eq!(grown, [partition], "{key}");
    }
}

fn ends(options: &Options, topic: &str) -> Vec<i64> {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let client: BaseConsumer =
        rdkafka::ClientConfig::new().set("bootstrap.servers", options.servers.join(",")).create().unwrap();
    let end = |partition| client.fetch_watermarks(topic, partition, crate::support::PATIENCE).unwrap().1;
    (0..PARTITIONS).map(end).collect()
}

#[tokio::test]
async fn messages_of_a_key_are_in_order_and_spread_over_partitions() {
    let cluster = Cluster::start();
    let broker = connected(&cluster, &cluster.options()).await;
    let queue = queue(&["spread"], Declare::Quorum);
    broker.declare(&queue).await.unwrap();
    let messages = (0..400).map(|number| {
        let key = Some(format!("key-{}", number % 20));
        Message { key, ..message("spread", &format!("{number:03}")) }
    });
    for answer in broker.publish(messages.collect()).await {
        answer.unwrap();
    }
    let mut by_key: HashMap<usize, Vec<String>> = HashMap::new();
    for message in drain(&*broker, &queue, 400).await {
        let label = label(&message);
        by_key.entry(label.parse::<usize>().unwrap() % 20).or_default().push(label);
    }
    assert_eq!(by_key.values().map(Vec::len).sum::<usize>(), 400, "each once");
    assert!(by_key.values().all(|labels| labels.is_sorted()), "{by_key:?}");
}

/// A server that fails in between: the library tries again, and the numbers of the
/// messages keep them in order, each once.
#[tokio::test]
async fn a_server_that_fails_in_between_neither_repeats_nor_reorders() {
    let cluster = Cluster::start();
    let broker = connected(&cluster, &cluster.options()).await;
    let queue = queue(&["again"], Declare::Quorum);
    broker.declare(&queue).await.unwrap();
    cluster.mock().request_errors(
        RDKafkaApiKey::Produce,
        &[
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        ],
    );
    let messages = (0..200).map(|number| message("again", &format!("{number:03}")));
    for answer in broker.publish(messages.collect()).await {
        answer.unwrap();
    }
    let came: Vec<String> = drain(&*broker, &queue, 200).await.iter().map(label).collect();
    assert_eq!(came, (0..200).map(|number| format!("{number:03}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_server_finds_too_large_is_too_large() {
    let cluster = Cluster::start();
    let broker = connected(&cluster, &cluster.options()).await;
    let queue = queue(&["large"], Declare::Adopt);
    broker.declare(&queue).await.unwrap();
    let too_large = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    cluster.mock().request_errors(RDKafkaApiKey::Produce, &[too_large]);
    let error = publish(&*broker, message("large", "m")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::TooLarge, false), "{error}");
    assert!(error.to_string().contains(queue.name.as_str()), "{error}");
    assert_eq!(Code::from(too_large), Code::MessageSizeTooLarge);
}

#[tokio::test]
async fn what_is_not_confirmed_is_bounded_and_all_goes_through() {
    let cluster = Cluster::start();
    let options = Options { unconfirmed_bytes_max: 64 << 10, ..cluster.options() };
    let broker = connected(&cluster, &options).await;
    let queue = queue(&["bounded"], Declare::Quorum);
    broker.declare(&queue).await.unwrap();
    let messages = (0..300).map(|number| {
        // The last one is larger than all that may be unconfirmed, and goes alone.
        let size = if number == 299 { 100 << 10 } else { 8 << 10 };
        let body = format!("{number:03}{}", "x".repeat(size)).into();
        Message { body, ..message("bounded", &format!("{number:03}")) }
    });
    for answer in broker.publish(messages.collect()).await {
        answer.unwrap();
    }
    let came = drain(&*broker, &queue, 300).await;
    assert!(came.iter().map(label).is_sorted(), "in order");
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_blocks_nobody() {
    let cluster = Cluster::start();
    let options = Options { unconfirmed_bytes_max: 16 << 10, ..cluster.options() };
    let broker = connected(&cluster, &options).await;
    let queue = queue(&["left"], Declare::Quorum);
    broker.declare(&queue).await.unwrap();
    for number in 0..20 {
        let publish = publish(&*broker, message("left", &format!("left-{number:02}")));
        // Given up at once, at whatever it has come to.
        tokio::time::timeout(Duration::ZERO, publish).await.ok();
    }
    publish(&*broker, message("left", "last")).await.unwrap();
}

#[tokio::test]
async fn many_queues_at_once_get_what_is_theirs() {
    let cluster = Cluster::start();
    let broker = connected(&cluster, &cluster.options()).await;
    let queues =
        [&["shop.#"][..], &["shop.*"], &["till.one"], &[]].map(|types| queue(types, Declare::Quorum));
    for queue in &queues {
        broker.declare(queue).await.unwrap();
    }
    let mut publishers = JoinSet::new();
    for publisher in 0..8 {
        let broker = broker.clone();
        let own = To::Queue(queues[3].name.clone());
        publishers.spawn(async move {
            let to = |event_type: &str, number: usize| {
                message(event_type, &format!("{event_type}-{publisher}-{number}"))
            };
            let messages = (0..10).flat_map(|number| {
                let named = Message { to: own.clone(), ..to("own", number) };
                [to("shop.sold", number), to("shop.sold.twice", number), to("till.one", number), named]
            });
            for answer in broker.publish(messages.collect()).await {
                answer.unwrap();
            }
        });
    }
    while let Some(published) = publishers.join_next().await {
        published.unwrap();
    }
    for (queue, count) in queues.iter().zip([160, 80, 80, 80]) {
        assert_eq!(drain(&*broker, queue, count).await.len(), count, "{}", queue.name);
    }
}
