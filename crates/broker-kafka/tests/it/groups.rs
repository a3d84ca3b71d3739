//! Consumer groups: what is committed, who gets what, and what a rebalance does to acks.

use std::collections::BTreeMap;
use std::time::Duration;

use orderwire_broker::{Broker, Consumer, Declare, Message, Received, Tag};
use tokio::time::{Instant, timeout};

use crate::support::{Cluster, PATIENCE, connected, label, message, next, others, queue};

/// Takes exactly so many.
async fn take(consumer: &mut Box<dyn Consumer>, count: usize) -> Vec<Received> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend(next(consumer, count - taken.len()).await);
    }
    taken
}

fn tags(messages: &[Received]) -> Vec<Tag> {
    messages.iter().map(|message| message.tag).collect()
}

/// Messages of one key, in one publish.
async fn say(broker: &dyn Broker, event_type: &str, count: usize) {
    let messages = (0..count).map(|number| message(event_type, &format!("m{number}"))).collect();
    for answer in broker.publish(messages).await {
        answer.unwrap();
    }
}

#[tokio::test]
async fn the_offset_passes_only_what_is_acked() {
    let cluster = Cluster::start();
    let options = cluster.options();
    let broker = connected(&cluster, &options).await;
    let queue = queue(&["offset"], Declare::Quorum);
    broker.declare(&queue).await.unwrap();
    say(&*broker, "offset", 5).await;
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    let held = take(&mut consumer, 5).await;
    let group = format!("{}.{}", options.prefix, queue.name);
    let standing =
        || (0..4).find_map(|partition| others::committed(&options, &group, queue.name.as_str(), partition));
    for (acked, offset) in [(3, 0), (1, 0), (0, 2), (2, 4), (4, 5)] {
        consumer.ack(&[held[acked].tag]).await.unwrap();
        assert_eq!(standing().unwrap().0, offset, "after the ack of {acked}");
    }
}

/// As Kafka's own tools do it: without a word beside the offset.
#[tokio::test]
async fn an_offset_that_others_set_is_where_it_goes_on() {
    let cluster = Cluster::start();
    let options = cluster.options();
    let broker = connected(&cluster, &options).await;
    let queue = queue(&[], Declare::Quorum);
    broker.declare(&queue).await.unwrap();
    let (producer, topic) = (others::producer(&options), queue.name.as_str());
    let mut partition = 0;
    for label in ["m0", "m1", "m2", "m3"] {
        (partition, _) = others::publish(&producer, topic, Some("key"), &[], label.as_bytes()).await;
    }
    others::set(&options, &format!("{}.{topic}", options.prefix), topic, partition, 1);
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    let came = take(&mut consumer, 3).await;
    assert_eq!(came.iter().map(label).collect::<Vec<_>>(), ["m1", "m2", "m3"]);
    assert!(came.iter().all(|message| !message.redelivered));
}

/// The second gets partitions of the first, which holds messages of all of them: acks of
/// what was lost change nothing, those of what was kept count.
#[tokio::test]
async fn acks_of_partitions_that_were_lost_are_ignored() {
    let cluster = Cluster::start();
    let options = cluster.options();
    let broker = connected(&cluster, &options).await;
    let queue = queue(&["moved"], Declare::Quorum);
    broker.declare(&queue).await.unwrap();
    let messages = (0..40).map(|number| Message {
        key: Some(format!("key-{number}")),
        ..message("moved", &format!("{number:02}"))
    });
    for answer in broker.publish(messages.collect()).await {
        answer.unwrap();
    }
    let mut first = broker.consume(&queue, 100).await.unwrap();
    let held = take(&mut first, 40).await;
    let other = connected(&cluster, &options).await;
    let mut second = other.consume(&queue, 100).await.unwrap();
    let mut moved: BTreeMap<String, Received> = BTreeMap::new();
    for message in next(&mut second, 100).await {
        moved.insert(label(&message), message);
    }
    // All that the first has lost is with the second by now, or soon.
    while let Ok(more) = timeout(Duration::from_secs(2), second.next(100)).await {
        moved.extend(more.unwrap().into_iter().map(|message| (label(&message), message)));
    }
    assert!(moved.len() < 40 && moved.values().all(|message| message.redelivered), "{}", moved.len());
    first.ack(&tags(&held)).await.unwrap();
    drop((first, second));
    broker.close().await;
    other.close().await;
    // What the first kept is done, what the second got is not: it was never acked there.
    let broker = connected(&cluster, &options).await;
    let mut third = broker.consume(&queue, 100).await.unwrap();
    let mut again: Vec<String> = take(&mut third, moved.len()).await.iter().map(label).collect();
    again.sort();
    assert_eq!(again, moved.into_keys().collect::<Vec<_>>());
    assert!(timeout(Duration::from_millis(500), third.next(1)).await.is_err(), "nothing else comes");
}

/// A consumer that neither takes nor acks for long is still there for its group.
#[tokio::test]
async fn a_consumer_that_holds_all_that_it_may_keeps_its_place() {
    let cluster = Cluster::start();
    let options = cluster.options();
    let broker = connected(&cluster, &options).await;
    let queue = queue(&["idle"], Declare::Quorum);
    broker.declare(&queue).await.unwrap();
    say(&*broker, "idle", 3).await;
    let mut consumer = broker.consume(&queue, 1).await.unwrap();
    let held = take(&mut consumer, 1).await;
    let until = Instant::now() + 2 * options.session;
    let silence = timeout(until - Instant::now(), consumer.next(1)).await;
    assert!(silence.is_err(), "there is no room for more");
    consumer.ack(&tags(&held)).await.unwrap();
    assert_eq!(label(&take(&mut consumer, 1).await[0]), "m1");
}

/// What is fetched ahead is bounded; what is not taken yet stays where it is.
#[tokio::test]
async fn more_than_fits_ahead_comes_in_order_and_whole() {
    let cluster = Cluster::start();
    let options = orderwire_broker_kafka::Options { ahead_bytes_max: 1 << 20, ..cluster.options() };
    let broker = connected(&cluster, &options).await;
    let queue = queue(&["ahead"], Declare::Quorum);
    broker.declare(&queue).await.unwrap();
    // These servers keep 5 MiB of a partition.
    let messages = (0..120).map(|number| {
        let body = format!("{number:03}{}", "x".repeat(32 << 10)).into();
        Message { body, ..message("ahead", &format!("{number:03}")) }
    });
    for answer in broker.publish(messages.collect()).await {
        answer.unwrap();
    }
    let mut consumer = broker.consume(&queue, 8).await.unwrap();
    let mut came = Vec::new();
    let all = async {
        while came.len() < 120 {
            let batch = next(&mut consumer, 4).await;
            assert!(batch.len() <= 4);
            consumer.ack(&tags(&batch)).await.unwrap();
            came.extend(batch.iter().map(|message| label(message)[..3].to_owned()));
        }
    };
    let in_time = timeout(PATIENCE, all).await.is_ok();
    assert!(in_time, "only {} came", came.len());
    assert_eq!(came, (0..120).map(|number| format!("{number:03}")).collect::<Vec<_>>());
}
