//! Servers that go, come back, refuse, or say nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use orderwire_broker::{Broker, Declare, ErrorKind};
use orderwire_broker_kafka::{KafkaBroker, Options};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::time::{Instant, timeout};

use crate::support::{
    Cluster, PATIENCE, SERVERS, connected, drain, eventually, failure, insist, label, message, next, publish,
    queue,
};

/// So long a call may take here.
const TIMEOUT: Duration = Duration::from_secs(4);

#[tokio::test]
async fn servers_that_go_again_and_again_lose_nothing_that_was_confirmed() {
    let cluster = Cluster::start();
    let options = Options { timeout: TIMEOUT, ..cluster.options() };
    let (broker, queue) = (connected(&cluster, &options).await, queue(&["gone"], Declare::Quorum));
    broker.declare(&queue).await.unwrap();
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let publisher = tokio::spawn({
        let broker = broker.clone();
        async move {
            let mut confirmed = 0;
            while !*stopped.borrow_and_update() {
                insist(&*broker, &message("gone", &format!("m{confirmed}"))).await;
                confirmed += 1;
            }
            confirmed
        }
    });
    for _ in 0..3 {
        cluster.set_up(false);
        eventually("the end is noticed", async || broker.check().await.is_err()).await;
        cluster.set_up(true);
        eventually("it is connected again", async || broker.check().await.is_ok()).await;
    }
    stop.send_replace(true);
    let count = timeout(PATIENCE, publisher).await.unwrap().unwrap();
    assert!(count > 0);
    let came: BTreeSet<String> = drain(&*broker, &queue, count).await.iter().map(label).collect();
    assert_eq!(came, (0..count).map(|number| format!("m{number}")).collect());
}

#[tokio::test]
async fn one_server_of_several_that_goes_is_hardly_noticed() {
    let cluster = Cluster::start();
    let (broker, queue) = (connected(&cluster, &cluster.options()).await, queue(&["one"], Declare::Quorum));
    broker.declare(&queue).await.unwrap();
    for server in 1..=SERVERS {
        cluster.mock().broker_down(server).unwrap();
        // Another one leads its partitions, as in a cluster that elects.
        for partition in 0..4 {
            let other = server % SERVERS + 1;
            cluster.mock().partition_leader(queue.name.as_str(), partition, Some(other)).unwrap();
        }
        publish(&*broker, message("one", &format!("m{server}"))).await.unwrap();
        cluster.mock().broker_up(server).unwrap();
    }
    assert_eq!(drain(&*broker, &queue, 3).await.len(), 3);
}

#[tokio::test]
async fn a_consumer_ends_with_its_cluster_and_another_gets_what_it_held() {
    let cluster = Cluster::start();
    let options = Options { timeout: TIMEOUT, ..cluster.options() };
    let (broker, queue) = (connected(&cluster, &options).await, queue(&["held"], Declare::Quorum));
    broker.declare(&queue).await.unwrap();
    publish(&*broker, message("held", "m0")).await.unwrap();
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    let held = next(&mut consumer, 10).await;
    cluster.set_up(false);
    let ended = timeout(PATIENCE, consumer.next(10)).await.expect("it ends");
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(consumer.ack(&[held[0].tag]).await.is_err(), "an ack does not reach the broker any more");
    cluster.set_up(true);
    eventually("it is connected again", async || broker.check().await.is_ok()).await;
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    let again = next(&mut consumer, 10).await;
    assert_eq!((label(&again[0]).as_str(), again[0].redelivered), ("m0", true));
}

/// The group does not answer for a while: the ack waits for it, and counts.
#[tokio::test]
async fn an_ack_during_a_rebalance_is_told_when_it_is_over() {
    let cluster = Cluster::start();
    let (broker, queue) = (connected(&cluster, &cluster.options()).await, queue(&["busy"], Declare::Quorum));
    broker.declare(&queue).await.unwrap();
    publish(&*broker, message("busy", "m0")).await.unwrap();
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    let held = next(&mut consumer, 10).await;
    let busy = RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
    cluster.mock().request_errors(RDKafkaApiKey::OffsetCommit, &[busy, busy]);
    consumer.ack(&[held[0].tag]).await.unwrap();
    drop(consumer);
    publish(&*broker, message("busy", "m1")).await.unwrap();
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    assert_eq!(label(&next(&mut consumer, 10).await[0]), "m1");
}

/// An ack that the group refuses is told; what it was for comes again.
#[tokio::test]
async fn an_ack_that_is_refused_ends_the_consumer() {
    let cluster = Cluster::start();
    let (broker, queue) =
        (connected(&cluster, &cluster.options()).await, queue(&["refused"], Declare::Quorum));
    broker.declare(&queue).await.unwrap();
    publish(&*broker, message("refused", "m0")).await.unwrap();
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    let held = next(&mut consumer, 10).await;
    let unknown = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
    cluster.mock().request_errors(RDKafkaApiKey::OffsetCommit, &[unknown; 8]);
    assert_eq!(consumer.ack(&[held[0].tag]).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(consumer.next(1).await.is_err(), "it is of no use any more");
    cluster.mock().clear_request_errors(RDKafkaApiKey::OffsetCommit);
    drop(consumer);
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    let again = next(&mut consumer, 10).await;
    assert_eq!((label(&again[0]).as_str(), again[0].redelivered), ("m0", true));
}

#[tokio::test]
async fn who_may_not_publish_is_refused() {
    let cluster = Cluster::start();
    let (broker, queue) = (connected(&cluster, &cluster.options()).await, queue(&["right"], Declare::Quorum));
    broker.declare(&queue).await.unwrap();
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.mock().request_errors(RDKafkaApiKey::Produce, &[refusal]);
    let error = publish(&*broker, message("right", "m0")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Refused, false), "{error}");
}

/// Nobody says that the other side is gone: every call ends in time all the same.
#[tokio::test]
async fn servers_that_say_nothing_are_given_up_in_time() {
    let cluster = Cluster::start();
    let options = Options { timeout: TIMEOUT, ..cluster.options() };
    let (broker, queue) = (connected(&cluster, &options).await, queue(&["silent"], Declare::Quorum));
    broker.declare(&queue).await.unwrap();
    for server in 1..=SERVERS {
        cluster.mock().broker_round_trip_time(server, 10 * TIMEOUT).unwrap();
    }
    let begun = Instant::now();
    let (published, declared) =
        tokio::join!(publish(&*broker, message("silent", "m0")), broker.declare(&queue));
    let kind = published.unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::Unconfirmed | ErrorKind::Unavailable), "{kind:?}");
    assert_eq!(declared.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(begun.elapsed() < 2 * TIMEOUT, "{:?}", begun.elapsed());
    eventually("the check tells it", async || broker.check().await.is_err()).await;
    let begun = Instant::now();
    timeout(PATIENCE, broker.close()).await.expect("it closes");
    assert!(begun.elapsed() < 2 * TIMEOUT, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_unavailable() {
    // Bound and never accepted from, then closed: nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let servers = vec![format!("127.0.0.1:{port}")];
    let error =
        failure(&KafkaBroker::start(Options { servers, timeout: TIMEOUT, ..Options::default() })).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}

/// Somebody accepts, and says nothing: another protocol, or a machine that hangs.
#[tokio::test]
async fn a_server_that_says_nothing_at_all_is_given_up_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let servers = vec![silent.local_addr().unwrap().to_string()];
    let begun = Instant::now();
    let options = Options { servers, timeout: Duration::from_millis(500), ..Options::default() };
    let error = failure(&KafkaBroker::start(options)).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(begun.elapsed() < PATIENCE / 3, "{:?}", begun.elapsed());
}
