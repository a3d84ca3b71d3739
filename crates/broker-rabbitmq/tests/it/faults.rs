//! What happens to a broker whose connection is cut, slow, or silent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use orderwire_broker::{Broker, Declare, ErrorKind, QueueBinding};
use orderwire_broker_rabbitmq::{Options, RabbitBroker};
use orderwire_servers::proxy::{Proxy, Wire};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::others::{Others, clean};
use crate::support::{
    PATIENCE, connected, drain, eventually, insist, label, message, options, publish, queue,
};

const HEARTBEAT: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);

/// A server behind a proxy: the settings that go through it, and those that go around.
async fn proxied() -> Option<(Proxy, Options, Options)> {
    let direct = options().await?;
    let proxy = Proxy::to_host(direct.host.clone(), direct.port).await.unwrap();
    let through = Options {
        host: "127.0.0.1".to_owned(),
        port: proxy.port(),
        heartbeat: HEARTBEAT,
        timeout: TIMEOUT,
        pause_last: Duration::from_millis(500),
        ..direct.clone()
    };
    Some((proxy, through, direct))
}

/// Publishes until told to stop, each message until it is confirmed; how many.
pub(crate) async fn load(broker: &Arc<RabbitBroker>, event_type: &'static str, during: impl Future) -> usize {
    let (stop, numbers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut publishers = JoinSet::new();
    for _ in 0..8 {
        let (broker, stop, numbers) = (broker.clone(), stop.clone(), numbers.clone());
        publishers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                insist(&*broker, &message(event_type, &format!("m{number}"))).await;
            }
        });
    }
    let so_far = || numbers.load(Ordering::Relaxed);
    eventually("the load has begun", async || so_far() > 100).await;
    during.await;
    let before = so_far();
    eventually("the load goes on", async || so_far() > before + 100).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(published) = publishers.join_next().await {
        published.unwrap();
    }
    so_far()
}

/// That all of `count` messages of a load are there, each at least once.
pub(crate) async fn none_is_missing(broker: &RabbitBroker, queue: &QueueBinding, count: usize) {
    let came: BTreeSet<String> = drain(broker, queue, count).await.iter().map(label).collect();
    let expected: BTreeSet<String> = (0..count).map(|number| format!("m{number}")).collect();
    assert_eq!(came, expected);
}

#[tokio::test]
async fn a_connection_that_is_cut_again_and_again_loses_nothing_that_was_confirmed() {
    let Some((proxy, through, direct)) = proxied().await else { return };
    let (broker, queue) = (connected(&through).await, queue(&["cut"], Declare::Quorum));
    broker.declare(&queue).await.unwrap();
    let cuts = async {
        for _ in 0..3 {
            proxy.make(Wire::Cut);
            eventually("the end is noticed", async || broker.check().await.is_err()).await;
            proxy.make(Wire::Good);
            eventually("it is connected again", async || broker.check().await.is_ok()).await;
        }
    };
    let count = load(&broker, "cut", cuts).await;
    none_is_missing(&broker, &queue, count).await;
    clean(&direct, &[&queue]).await;
}

#[tokio::test]
async fn a_consumer_ends_with_its_connection_and_another_gets_what_it_held() {
    let Some((proxy, through, direct)) = proxied().await else { return };
    let (broker, queue) = (connected(&through).await, queue(&["held"], Declare::Quorum));
    broker.declare(&queue).await.unwrap();
    publish(&*broker, message("held", "m0")).await.unwrap();
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    let held = consumer.next(10).await.unwrap();
    proxy.make(Wire::Cut);
    let ended = timeout(PATIENCE, consumer.next(10)).await.expect("it ends");
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(consumer.ack(&[held[0].tag]).await.is_err(), "an ack does not reach the broker any more");
    proxy.make(Wire::Good);
    eventually("it is connected again", async || broker.check().await.is_ok()).await;
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    let again = timeout(PATIENCE, consumer.next(10)).await.expect("it comes again").unwrap();
    assert_eq!((label(&again[0]).as_str(), again[0].redelivered), ("m0", true));
    clean(&direct, &[&queue]).await;
}

/// Nobody says that the other side is gone: heartbeats notice it.
#[tokio::test]
async fn a_half_open_connection_is_noticed_and_every_call_ends_in_time() {
    let Some((proxy, through, direct)) = proxied().await else { return };
    let (broker, queue) = (connected(&through).await, queue(&["silent"], Declare::Quorum));
    broker.declare(&queue).await.unwrap();
    publish(&*broker, message("silent", "m0")).await.unwrap();
    let mut consumer = broker.consume(&queue, 1).await.unwrap();
    consumer.next(1).await.unwrap();
    proxy.make(Wire::Silent);
    let begun = Instant::now();
    let (published, declared, waited) = tokio::join!(
        publish(&*broker, message("silent", "m1")),
        broker.declare(&queue),
        timeout(PATIENCE, consumer.next(1)),
    );
    let kind = published.unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::Unconfirmed | ErrorKind::Unavailable), "{kind:?}");
    assert_eq!(declared.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(waited.expect("the silence is noticed").unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(begun.elapsed() < 6 * HEARTBEAT, "{:?}", begun.elapsed());
    eventually("the check tells it", async || broker.check().await.is_err()).await;
    proxy.make(Wire::Good);
    insist(&*broker, &message("silent", "m2")).await;
    drop(consumer);
    // What consumes has a connection of its own, which may take longer.
    eventually("both connections are back", async || broker.check().await.is_ok()).await;
    drain(&*broker, &queue, 2).await;
    clean(&direct, &[&queue]).await;
}

/// Closing does not wait for somebody who is gone.
#[tokio::test]
async fn a_broker_on_a_half_open_connection_closes_in_time() {
    let Some((proxy, through, direct)) = proxied().await else { return };
    let broker = connected(&through).await;
    proxy.make(Wire::Silent);
    let begun = Instant::now();
    timeout(PATIENCE, broker.close()).await.expect("it closes");
    assert!(begun.elapsed() < 2 * TIMEOUT, "{:?}", begun.elapsed());
    clean(&direct, &[]).await;
}

#[tokio::test]
async fn a_slow_connection_carries_everything() {
    let Some((proxy, through, direct)) = proxied().await else { return };
    let through = Options { timeout: PATIENCE, heartbeat: 10 * HEARTBEAT, ..through };
    let (broker, queue) = (connected(&through).await, queue(&["slow"], Declare::Classic));
    broker.declare(&queue).await.unwrap();
    proxy.make(Wire::Slow(Duration::from_millis(50)));
    let messages = (0..200).map(|number| message("slow", &format!("m{number}"))).collect();
    for answer in broker.publish(messages).await {
        answer.unwrap();
    }
    none_is_missing(&broker, &queue, 200).await;
    clean(&direct, &[&queue]).await;
}

/// A server that lost its queues, as one without a disk does, gets them again.
#[tokio::test]
async fn declarations_come_back_with_the_connection() {
    let Some((proxy, through, direct)) = proxied().await else { return };
    let broker = connected(&through).await;
    let queues = [Declare::Adopt, Declare::Classic, Declare::Quorum].map(|kind| queue(&["lost"], kind));
    for queue in &queues {
        broker.declare(queue).await.unwrap();
    }
    let others = Others::connect(&direct).await;
    for queue in &queues {
        others.delete(&queue.name).await;
    }
    let lost = publish(&*broker, message("lost", "m0")).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Unroutable);
    proxy.make(Wire::Cut);
    eventually("the end is noticed", async || broker.check().await.is_err()).await;
    proxy.make(Wire::Good);
    insist(&*broker, &message("lost", "m1")).await;
    // What consumes has a connection of its own, which may take longer.
    eventually("both connections are back", async || broker.check().await.is_ok()).await;
    for queue in &queues {
        assert_eq!(label(&drain(&*broker, queue, 1).await[0]), "m1");
    }
    clean(&direct, &queues.each_ref()).await;
}
