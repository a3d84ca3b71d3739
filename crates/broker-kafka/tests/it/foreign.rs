//! Messages of other people, who know nothing of us.

use orderwire_broker::{Broker, Declare};

use crate::support::others;
use crate::support::{Cluster, connected, next, queue};

#[tokio::test]
async fn a_record_without_key_and_headers_is_read() {
    let cluster = Cluster::start();
    let options = cluster.options();
    let broker = connected(&cluster, &options).await;
    let queue = queue(&["from.others"], Declare::Adopt);
    broker.declare(&queue).await.unwrap();
    let producer = others::producer(&options);
    others::publish(&producer, queue.name.as_str(), None, &[], b"bare").await;
    let came = next(&mut broker.consume(&queue, 10).await.unwrap(), 10).await.remove(0);
    assert_eq!((came.id.as_deref(), came.event_type.as_deref()), (None, None));
    assert_eq!((came.content_type.as_deref(), came.headers.len()), (None, 0));
    assert_eq!(&came.body[..], b"bare");
}

#[tokio::test]
async fn headers_that_are_text_are_read_in_lower_case_and_others_harm_nobody() {
    let cluster = Cluster::start();
    let options = cluster.options();
    let broker = connected(&cluster, &options).await;
    let queue = queue(&[], Declare::Adopt);
    broker.declare(&queue).await.unwrap();
    let producer = others::producer(&options);
    let headers: [(&str, &[u8]); 4] = [
        ("X-Text", b"as it is"),
        ("x-bytes", &[0xff, 0xfe]),
        ("Content-Type", b"application/json"),
        ("", b"nameless"),
    ];
    others::publish(&producer, queue.name.as_str(), Some("k"), &headers, b"{}").await;
    let came = next(&mut broker.consume(&queue, 10).await.unwrap(), 10).await.remove(0);
    assert_eq!(came.header("x-text"), Some("as it is"));
    assert_eq!(came.header("x-bytes"), None);
    assert_eq!(came.content_type.as_deref(), Some("application/json"));
}

/// Whatever compressed it.
#[tokio::test]
async fn what_others_compressed_is_read() {
    let cluster = Cluster::start();
    let options = cluster.options();
    let broker = connected(&cluster, &options).await;
    let queue = queue(&[], Declare::Adopt);
    broker.declare(&queue).await.unwrap();
    let body = "squeeze ".repeat(1_000);
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        let mut config = rdkafka::ClientConfig::new();
        config.set("bootstrap.servers", options.servers.join(",")).set("compression.type", codec);
        let producer: rdkafka::producer::FutureProducer = config.create().unwrap();
        others::publish(&producer, queue.name.as_str(), None, &[], body.as_bytes()).await;
        let came = next(&mut consumer, 10).await;
        assert_eq!(came[0].body, body, "{codec}");
        consumer.ack(&[came[0].tag]).await.unwrap();
    }
}
