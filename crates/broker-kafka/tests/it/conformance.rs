//! Kafka keeps every promise of a broker.

use orderwire_broker::{Broker, Durability, Ordering, Retention};

use crate::support::{Cluster, connected};

orderwire_broker::broker_conformance!(Some(Cluster::factory()));

#[tokio::test]
async fn its_capabilities_are_these() {
    let cluster = Cluster::start();
    let options = cluster.options();
    let able = connected(&cluster, &options).await.capabilities();
    assert_eq!(
        (able.name, able.durability, able.retention),
        ("Kafka", Durability::Process, Retention::Limited)
    );
    assert_eq!(able.ordering, Ordering::Key);
    assert!(able.reports_unroutable && !able.routes_by_pattern);
    assert_eq!(able.body_bytes_max, options.body_bytes_max);
}
