//! Queues beside other people's code.

use lapin::BasicProperties;
use orderwire_broker::{Broker, Declare, ErrorKind, QueueBinding};

use crate::support::others::{Others, clean};
use crate::support::{connected, drain, label, message, options, publish, queue};

#[tokio::test]
async fn a_plain_declaration_by_others_works_before_and_after_adopt() {
    let Some(options) = options().await else { return };
    let (broker, others) = (connected(&options).await, Others::connect(&options).await);
    for others_are_first in [true, false] {
        let queue = queue(&["plain"], Declare::Adopt);
        if others_are_first {
            others.declare(&queue.name).await.unwrap();
            others.publish("", queue.name.as_str(), BasicProperties::default(), b"theirs").await;
        }
        broker.declare(&queue).await.unwrap();
        others.declare(&queue.name).await.unwrap();
        publish(&*broker, message("plain", "ours")).await.unwrap();
        let expected: &[&str] = if others_are_first { &["theirs", "ours"] } else { &["ours"] };
        let came: Vec<String> = drain(&*broker, &queue, expected.len()).await.iter().map(label).collect();
        assert_eq!(came, expected);
        others.delete(&queue.name).await;
    }
    clean(&options, &[]).await;
}

#[tokio::test]
async fn a_queue_of_another_kind_conflicts_and_says_what_to_do() {
    let Some(options) = options().await else { return };
    let broker = connected(&options).await;
    let classic = queue(&["kind"], Declare::Classic);
    broker.declare(&classic).await.unwrap();
    let quorum = QueueBinding { declare: Declare::Quorum, ..classic.clone() };
    let error = broker.declare(&quorum).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(!error.is_retryable());
    let said = error.to_string();
    assert!(said.contains(classic.name.as_str()) && said.contains("declare: adopt"), "{said}");
    clean(&options, &[&classic]).await;
}

/// An error of the protocol ends the channel that it is on, and nothing else.
#[tokio::test]
async fn a_conflict_harms_neither_consumers_nor_publishers() {
    let Some(options) = options().await else { return };
    let broker = connected(&options).await;
    let mine = queue(&["mine"], Declare::Classic);
    broker.declare(&mine).await.unwrap();
    let mut consumer = broker.consume(&mine, 10).await.unwrap();
    for _ in 0..3 {
        let other = QueueBinding { declare: Declare::Quorum, ..mine.clone() };
        broker.declare(&other).await.unwrap_err();
        broker.consume(&queue(&[], Declare::Classic), 10).await.err().unwrap();
    }
    publish(&*broker, message("mine", "through")).await.unwrap();
    let batch = consumer.next(10).await.unwrap();
    assert_eq!(batch.iter().map(label).collect::<Vec<_>>(), ["through"]);
    consumer.ack(&[batch[0].tag]).await.unwrap();
    clean(&options, &[&mine]).await;
}

#[tokio::test]
async fn a_type_that_is_no_longer_asked_for_is_unbound() {
    let Some(options) = options().await else { return };
    let broker = connected(&options).await;
    let wide = queue(&["kept", "dropped"], Declare::Classic);
    broker.declare(&wide).await.unwrap();
    let narrow = QueueBinding { types: vec!["kept".parse().unwrap()], ..wide.clone() };
    broker.declare(&narrow).await.unwrap();
    let error = publish(&*broker, message("dropped", "for nobody")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unroutable);
    publish(&*broker, message("kept", "for us")).await.unwrap();
    clean(&options, &[&wide]).await;
}

#[tokio::test]
async fn a_queue_that_is_deleted_ends_its_consumers() {
    let Some(options) = options().await else { return };
    let broker = connected(&options).await;
    for declare in [Declare::Classic, Declare::Quorum] {
        let queue = queue(&["gone"], declare);
        broker.declare(&queue).await.unwrap();
        let mut consumer = broker.consume(&queue, 10).await.unwrap();
        let others = Others::connect(&options).await;
        let (ended, ()) = tokio::join!(consumer.next(1), others.delete(&queue.name));
        let error = ended.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(queue.name.as_str()), "{error}");
        assert!(consumer.next(1).await.is_err(), "it is of no use any more");
    }
    clean(&options, &[]).await;
}
