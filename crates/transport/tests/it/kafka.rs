//! The whole way over Kafka: its client library's own servers, in this process and in real
//! time.

use std::sync::Arc;
use std::time::Duration;

use orderwire_broker::Broker;
use orderwire_broker::testkit::ModelPlace;
use orderwire_broker_kafka::{KafkaBroker, Options};
use rdkafka::producer::{BaseProducer, Producer};

use crate::world::{Switched, World};

const SERVERS: i32 = 3;

#[tokio::test]
async fn what_is_published_comes_once_and_in_order_also_after_the_servers_were_away() {
    let mut cluster = rdkafka::ClientConfig::new();
    let cluster: BaseProducer = cluster.set("test.mock.num.brokers", SERVERS.to_string()).create().unwrap();
    let mock = || cluster.client().mock_cluster().unwrap();
    // These servers cannot be asked for topics.
    for (topic, partitions) in [("orderwire.bindings", 1), ("shop", 4)] {
        mock().create_topic(topic, partitions, SERVERS).unwrap();
    }
    let options = Options {
        servers: mock().bootstrap_servers().split(',').map(str::to_owned).collect(),
        partitions: 4,
        timeout: Duration::from_secs(4),
        session: Duration::from_secs(3),
        heartbeat: Duration::from_millis(200),
        ..Options::default()
    };
    let broker = Arc::new(KafkaBroker::start(options));
    broker.check().await.unwrap();
    let mut world = World::behind(Switched::over(broker.clone()), ModelPlace::default(), 1_000).await;
    world.topology.make(broker.as_ref()).await;
    world.start();
    world.publish(0, 20).await.unwrap();
    world.publish(0, 20).await.unwrap();
    for queue in ["shop", "own"] {
        assert_eq!(world.consume(queue, 20).await, (0..20).collect::<Vec<_>>(), "{queue}");
    }

    for server in 1..=SERVERS {
        mock().broker_down(server).unwrap();
    }
    // Of the first nothing is known until its time is over; then it is known that they are away.
    for start in [20, 30, 40] {
        world.publish(start, start + 10).await.unwrap();
    }
    assert!(!world.spool.as_ref().unwrap().is_empty());
    for server in 1..=SERVERS {
        mock().broker_up(server).unwrap();
    }
    let mut came = Vec::new();
    while came.len() < 30 {
        came.extend(world.consume("shop", 1).await);
    }
    assert_eq!(came, (20..50).collect::<Vec<_>>());
    assert_eq!(world.state("shop").await.ready, 0, "each once");
    broker.close().await;
}
