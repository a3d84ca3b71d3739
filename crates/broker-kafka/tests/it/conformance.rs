//! Kafka keeps every promise of a broker.

use std::path::Path;

use orderwire_broker::Broker;
use orderwire_broker::testkit::{cases, documented};

use crate::support::{Cluster, connected};
use crate::tansu::conformance::NOT_HERE;

orderwire_broker::broker_conformance!(Some(Cluster::factory()));

/// The row of the page is written when `UPDATE_GENERATED` is set.
#[tokio::test]
async fn the_row_of_the_page_is_generated() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/brokers.md");
    let cluster = Cluster::start();
    let able = connected(&cluster, &cluster.options()).await.capabilities();
    let at_tansu = cases().len() - NOT_HERE.len();
    documented(&page, &able, &format!("librdkafka's own cluster; {at_tansu} of them, Tansu 0.6"));
}
