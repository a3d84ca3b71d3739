//! RabbitMQ keeps every promise of a broker.

use orderwire_broker::{Broker, Durability};

use crate::support::{RabbitFactory, connected, options};

orderwire_broker::broker_conformance!(RabbitFactory::here().await);

#[tokio::test]
async fn its_capabilities_are_these() {
    let Some(options) = options().await else { return };
    let broker = connected(&options).await;
    let able = broker.capabilities();
    assert_eq!((able.name, able.durability), ("RabbitMQ", Durability::Power));
    assert!(able.reports_unroutable && able.routes_by_pattern);
    assert_eq!(able.body_bytes_max, options.body_bytes_max);
    crate::support::others::clean(&options, &[]).await;
}
