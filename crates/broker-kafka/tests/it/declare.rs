//! Topics and bindings.

use orderwire_broker::{Broker, Declare, ErrorKind, QueueBinding};
use orderwire_broker_kafka::Options;

use crate::support::others;
use crate::support::{Cluster, connected, drain, label, message, publish, queue};

#[tokio::test]
async fn a_topic_of_others_is_adopted_as_it_is() {
    let cluster = Cluster::start();
    let options = cluster.options();
    let broker = connected(&cluster, &options).await;
    let queue = queue(&["plain"], Declare::Adopt);
    cluster.mock().create_topic(queue.name.as_str(), 1, 1).unwrap();
    others::publish(&others::producer(&options), queue.name.as_str(), None, &[], b"theirs").await;
    broker.declare(&queue).await.unwrap();
    publish(&*broker, message("plain", "ours")).await.unwrap();
    let came: Vec<String> = drain(&*broker, &queue, 2).await.iter().map(label).collect();
    assert_eq!(came, ["theirs", "ours"]);
}

#[tokio::test]
async fn a_topic_that_is_less_conflicts_and_says_what_to_do() {
    let cluster = Cluster::start();
    let broker = connected(&cluster, &cluster.options()).await;
    for (partitions, replicas, word) in [(1, 3, "1 partitions"), (4, 2, "2 servers")] {
        let queue = queue(&["less"], Declare::Quorum);
        cluster.mock().create_topic(queue.name.as_str(), partitions, replicas).unwrap();
        let error = broker.declare(&queue).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, false));
        let said = error.to_string();
        assert!(said.contains(queue.name.as_str()) && said.contains(word), "{said}");
        assert!(said.contains("declare: adopt"), "{said}");
    }
}

#[tokio::test]
async fn a_type_that_is_no_longer_asked_for_is_unbound() {
    let cluster = Cluster::start();
    let broker = connected(&cluster, &cluster.options()).await;
    let wide = queue(&["kept", "dropped"], Declare::Classic);
    broker.declare(&wide).await.unwrap();
    let narrow = QueueBinding { types: vec!["kept".parse().unwrap()], ..wide.clone() };
    broker.declare(&narrow).await.unwrap();
    let error = publish(&*broker, message("dropped", "for nobody")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unroutable);
    publish(&*broker, message("kept", "for us")).await.unwrap();
}

/// What one server binds, others publish by, also those that were there before.
#[tokio::test]
async fn bindings_are_known_to_every_server() {
    let cluster = Cluster::start();
    let options = cluster.options();
    let (one, other) = (connected(&cluster, &options).await, connected(&cluster, &options).await);
    let queue = queue(&["told.#"], Declare::Quorum);
    one.declare(&queue).await.unwrap();
    // One that knows of no taker asks before it says so.
    publish(&*other, message("told.first", "m1")).await.unwrap();
    publish(&*connected(&cluster, &options).await, message("told.second", "m2")).await.unwrap();
    assert_eq!(drain(&*one, &queue, 2).await.len(), 2);
    one.unbind(&queue.name, &queue.types).await.unwrap();
    let late = connected(&cluster, &options).await;
    assert_eq!(publish(&*late, message("told.third", "m3")).await.unwrap_err().kind(), ErrorKind::Unroutable);
}

#[tokio::test]
async fn records_that_are_no_bindings_are_passed_over() {
    let cluster = Cluster::start();
    let options = cluster.options();
    let queue = queue(&["sound"], Declare::Quorum);
    connected(&cluster, &options).await.declare(&queue).await.unwrap();
    let producer = others::producer(&options);
    let topic = format!("{}.bindings", options.prefix);
    for key in [None, Some("nonsense"), Some("Queue a.b"), Some("queue a..b"), Some("")] {
        let mut record =
            rdkafka::producer::FutureRecord::<str, [u8]>::to(&topic).payload(b"bound").partition(0);
        record.key = key;
        producer.send(record, crate::support::PATIENCE).await.unwrap();
    }
    let broker = connected(&cluster, &options).await;
    publish(&*broker, message("sound", "m1")).await.unwrap();
    assert_eq!(drain(&*broker, &queue, 1).await.len(), 1);
}

#[tokio::test]
async fn a_queue_of_the_name_of_the_bindings_is_refused() {
    let cluster = Cluster::start();
    let options = Options { prefix: "own".to_owned(), ..cluster.options() };
    let broker = connected(&cluster, &options).await;
    let taken = QueueBinding { name: "own.bindings".parse().unwrap(), ..queue(&[], Declare::Adopt) };
    assert_eq!(broker.declare(&taken).await.unwrap_err().kind(), ErrorKind::Unsupported);
}
